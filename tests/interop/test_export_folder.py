"""An export is whole or not there, replaces nothing unasked, and tells where it comes from."""

import pytest
from filelock import FileLock

from minigpt.interop import export as export_module
from minigpt.interop import new_folder
from tests.conftest import run_folders
from tests.interop.checkpoints import write_checkpoint


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_existing_folder_is_replaced_with_force_only(type_minigpt, tmp_path):
    write_checkpoint(tmp_path / "a.ckpt")
    write_checkpoint(tmp_path / "b.ckpt", seed=1)
    type_minigpt("export", "a.ckpt", "out")
    before = content(tmp_path / "out")
    typed = type_minigpt("export", "b.ckpt", "out")
    assert (typed.code, typed.err) == (
        2,
        "error: out exists already; choose another folder, or replace it with --force\n",
    )
    assert content(tmp_path / "out") == before
    assert type_minigpt("export", "b.ckpt", "out", "--force").code == 0
    after = content(tmp_path / "out")
    assert after.keys() == before.keys()
    assert after["model.safetensors"] != before["model.safetensors"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ckpt", "b.ckpt", "out"]


def test_a_folder_with_other_files_is_never_replaced(type_minigpt, tmp_path):
    write_checkpoint(tmp_path / "a.ckpt")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    typed = type_minigpt("export", "a.ckpt", "out", "--force")
    assert typed.code == 2
    assert typed.err.startswith("error: out holds thesis.tex, which is not part of an export")
    assert content(tmp_path / "out") == {"thesis.tex": b"mine"}


def test_an_export_that_fails_leaves_the_older_one_whole(type_minigpt, tmp_path, monkeypatch):
    write_checkpoint(tmp_path / "a.ckpt")
    type_minigpt("export", "a.ckpt", "out")
    before = content(tmp_path / "out")

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export_module, "model_card", full_disk)
    typed = type_minigpt("export", "a.ckpt", "out", "--force")
    assert typed.code == 2
    assert "out: No space left on device" in typed.err
    assert content(tmp_path / "out") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ckpt", "out"]


def test_a_folder_that_is_being_written_is_refused(type_minigpt, tmp_path):
    write_checkpoint(tmp_path / "a.ckpt")
    with FileLock(tmp_path / ".out.lock"):
        typed = type_minigpt("export", "a.ckpt", "out")
    assert (typed.code, typed.err.count("\n")) == (2, 1)
    assert "out is being written by another process; wait for it" in typed.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_folder_is_replaced_whole_with_one_rename_or_two(tmp_path, monkeypatch, can_exchange):
    if not can_exchange:
        monkeypatch.setattr(new_folder, "_exchange", lambda one, other: False)
    folder = tmp_path / "out"
    for content_of_it in ("first", "second"):
        with new_folder.replace_folder(folder) as new:
            (new / content_of_it).touch()
    assert [path.name for path in folder.iterdir()] == ["second"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("which", ["best", "last"])
def test_the_card_of_a_run_names_its_figures_and_fingerprints(
    tiny, type_train, type_minigpt, tmp_path, which
):
    assert type_train(*tiny, "trainer.max_epochs=2", "model.head_bias=false").code == 0
    (folder,) = run_folders(tmp_path)
    assert type_minigpt("export", str(folder), "out", "--which", which).code == 0
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    from minigpt.runs.run_folder import RunFolder

    summary = RunFolder(folder).read_summary()
    loss = {"best": summary.best.val_loss, "last": summary.final.val_loss}[which]
    assert f"| held-out loss | {loss:.4f} nats a token (perplexity " in card
    assert f"`{summary.data.fingerprint}`" in card
    assert f"`{summary.tokenizer.fingerprint}`" in card
    assert summary.command in card


def test_a_checkpoint_alone_gets_a_card_without_figures(type_minigpt, tmp_path):
    write_checkpoint(tmp_path / "a.ckpt")
    type_minigpt("export", "a.ckpt", "out")
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "| layers, heads, width | 2, 2, 16 |" in card
    assert "held-out" not in card
