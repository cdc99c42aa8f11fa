"""`minigpt explore` writes a page beside a run, and says in one line why it cannot."""

import json
import shutil

import pytest

from tests.conftest import run_folders


@pytest.fixture
def folder(tiny, type_train, tmp_path):
    assert type_train(*tiny, "trainer.max_epochs=1").code == 0
    (folder,) = run_folders(tmp_path)
    return folder


def test_a_run_is_explored(folder, type_minigpt, tmp_path, corpus):
    typed = type_minigpt("explore", str(folder), "--json")
    assert (typed.code, typed.err) == (0, "")
    figures = json.loads(typed.out)
    assert figures["page"] == str(folder / "explore.html")
    assert figures["bytes"] == (folder / "explore.html").stat().st_size < 5_000_000
    summary = json.loads((folder / "summary.json").read_text())
    assert [(s["split"], s["of_documents"]) for s in figures["splits"]] == [
        (split, summary["data"]["documents"][split]) for split in ("val", "train")
    ]
    best, last = (str(folder / "checkpoints" / f"{name}.ckpt") for name in ("best", "last"))
    typed = type_minigpt("explore", best, last, "--split", "train", "--documents", "7",
                         "--out", "pair.html")  # fmt: skip
    assert (typed.code, typed.err) == (0, "")
    assert typed.out.startswith(f"train: 7 of {summary['data']['documents']['train']} documents, ")
    assert (tmp_path / "pair.html").exists()

    # A run whose folder is gone is explored with text that is named.
    shutil.copy(best, tmp_path / "a=b.ckpt")
    typed = type_minigpt("explore", "a=b.ckpt", "--out", "other.html")
    assert typed.code == 2
    assert typed.err == (
        "error: a=b.ckpt is not in a run folder, so its text is not known; name it with data=...\n"
    )
    text = ["data=files", f"data.files=[{corpus}/*.txt]", "data.tokenizer=char"]
    assert type_minigpt("explore", "--out", "other.html", "a=b.ckpt", *text).code == 0
    assert (tmp_path / "other.html").exists()


def test_what_cannot_be_explored_is_one_line(folder, type_minigpt, tmp_path):
    folder.rename(tmp_path / "RUN")
    for arguments, message in [
        (["RUN", "RUN", "RUN"], "explore shows one run or two, got 3"),
        (["data=sample"], "explore shows one run or two, got 0"),
        (["nowhere"], "no such checkpoint: nowhere"),
        (["RUN", "--out", "."], "--out . is a folder; name a file in it, such as explore.html"),
        (["RUN", "--documents", "0"], "--documents must lie between 1 and 5,000, got 0"),
        (["RUN", "--documents", "5001"], "--documents must lie between 1 and 5,000, got 5,001"),
        (["RUN", "model=base"], "model=base: only data=... names another text; leave it out"),
        (["RUN", "--split", "all"], "argument --split: invalid choice: 'all'"),
        (
            ["RUN", "data=sample"],
            "the character 'C' is not among the 32 of this tokenizer's corpus",
        ),
    ]:
        typed = type_minigpt("explore", *arguments)
        assert (typed.code, typed.out, typed.err.count("\n")) == (2, "", 1)
        assert typed.err.startswith(f"error: {message}")
    assert not (tmp_path / "RUN" / "explore.html").exists()
