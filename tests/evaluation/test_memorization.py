"""From a run to its verdict, as a user types it: the figures, the page, and what is refused."""

import json
import os
import random
import signal

import pytest

from minigpt.evaluation import end_of_run
from minigpt.runs.run_folder import RunFolder
from minigpt.runs.summary import Status
from tests.conftest import run_folders

LONG = ["model.block_size=64", "data.stride=1"]


@pytest.fixture
def shuffled(tmp_path):
    """Overrides for text without any rule, each character of which stands once: easily memorised.

    The held-out text has the same characters in another order.
    """
    folder = tmp_path / "shuffled"
    folder.mkdir()
    characters = "".join(map(chr, range(0x4E00, 0x4E00 + 397)))
    characters = f"{characters[:60]}<&>{characters[60:]}"
    rng = random.Random(1)
    for i in range(8):
        if i == 4:
            characters = "".join(rng.sample(characters, 400))
        (folder / f"{i}.txt").write_text(characters[100 * (i % 4) :][:100], "utf-8")
    held_out = ",".join(f"{folder}/{i}.txt" for i in range(4, 8))
    return [f"data.files=[{folder}/*.txt]", f"data.val_files=[{held_out}]", "data.test_fraction=0"]


@pytest.fixture
def memorised(tiny, shuffled, type_train, tmp_path):
    """A run that knows its text by heart."""
    typed = type_train(*tiny, *shuffled, *LONG, "model.n_embd=32", "model.dropout=0",
                       "trainer.max_epochs=4", "optimizer.lr=2e-2", "optimizer.weight_decay=0",
                       "trainer.log_every_n_steps=50")  # fmt: skip
    assert (typed.code, typed.err) == (0, "")
    (folder,) = run_folders(tmp_path)
    return folder, typed.out


def test_a_run_that_knows_its_text_by_heart_is_found_out(memorised, type_minigpt, tmp_path):
    folder, printed = memorised
    typed = type_minigpt("memorization", str(folder), "--json", "--windows", "50")
    assert (typed.code, typed.err) == (0, "")
    found = json.loads(typed.out)
    assert found["verdict"] == "memorised"
    assert (found["prefix"], found["continuation"]) == (32, 32)
    assert found["extracted_train"] > 0.95
    assert found["extracted_held_out"] == 0.0
    assert found["membership_auc"] > 0.99
    assert found["checkpoint"] == "last.ckpt"
    assert found["train"]["passages"] == found["held_out"]["passages"] == 50
    assert found["losses"]["train"] < 0.5 < found["losses"]["unigram"] < found["losses"]["held_out"]
    assert found["capacity"]["known_bits"] > 0.8 * found["capacity"]["text_bits"]
    span = found["train_spans"][0]
    text = (tmp_path / "shuffled" / span["document"].rpartition("/")[2]).read_text("utf-8")
    assert text[span["position"] :].startswith(span["text"])
    assert text[: span["position"]].endswith(span["prefix"])
    assert json.loads(RunFolder(folder).memorization.read_text()) == found
    # The page shows the spans, escaped, and links each to its document.
    page = RunFolder(folder).memorization_page.read_text()
    assert page.index("Memorised, not learned") < page.index("<h2>Extraction")
    assert "&lt;&amp;&gt;" in page
    assert "<&>" not in page
    assert '<a href="#document-0">' in page
    assert '<tr id="document-0">' in page
    assert page.count("<svg") == 3
    # A person reads the same, and where the page is.
    typed = type_minigpt("memorization", str(folder), "--windows", "5", "--which", "best")
    assert (typed.code, typed.err) == (0, "")
    assert typed.out.count("\n- ") >= 3
    assert typed.out.splitlines()[-1].endswith("memorization.html")
    # The run's own verdict has the short form.
    summary = RunFolder(folder).read_summary()
    assert summary.comes_back.passages == summary.comes_back.held_out_passages == 4 * 37
    assert summary.comes_back.train > 0.95
    assert summary.comes_back.held_out == 0.0
    assert "passages come back word for word, 0.0% of held-out passages" in " ".join(
        printed.split()
    )


@pytest.mark.parametrize(
    ("overrides", "arguments", "message"),
    [
        ([], [], "model.block_size=8 is too short to look for memorised text: 8 tokens of prefix "
                 "and 32 to come need 39"),
        (["model.block_size=64", "data.document_tokens=30"], [],
         "no document has the 40 tokens in which memorised text is looked for (8 of prefix and 32 "
         "to come); the longest has 30"),
        ([], ["--windows", "0"], "windows must be at least 1, got 0"),
        ([], ["--seed", "-1"], "seed must be a whole number from 0 to 2^63 - 1, got -1"),
    ],
)  # fmt: skip
def test_what_cannot_be_measured_is_one_line(
    tiny, type_train, type_minigpt, tmp_path, overrides, arguments, message
):
    short = ["trainer.max_epochs=1", "trainer.limit_train_batches=1"]
    assert type_train(*tiny, *overrides, *short).code == 0
    (folder,) = run_folders(tmp_path)
    typed = type_minigpt("memorization", str(folder), *arguments)
    assert (typed.code, typed.out, typed.err) == (2, "", f"error: {message}\n")
    assert not RunFolder(folder).memorization.exists()
    assert RunFolder(folder).read_summary().comes_back is None


def test_a_path_that_is_not_a_run_is_refused(type_minigpt, tmp_path):
    typed = type_minigpt("memorization", "nowhere")
    assert (typed.code, typed.err) == (
        2, "error: nowhere is not a folder; name the folder of a run\n",
    )  # fmt: skip


SHORT = ["trainer.max_epochs=1", "trainer.limit_train_batches=1", *LONG]


def test_a_run_keeps_its_result_where_the_look_at_its_memory_fails(
    tiny, type_train, tmp_path, monkeypatch
):
    monkeypatch.setattr(end_of_run, "short_extraction", lambda *_: 1 / 0)
    typed = type_train(*tiny, *SHORT)
    (folder,) = run_folders(tmp_path)
    assert typed.code == 0
    assert typed.err.startswith(
        "the run is finished, but the look at what it memorised failed: division"
    )
    assert typed.err.endswith(f"minigpt memorization {folder.relative_to(tmp_path)}\n")
    assert RunFolder(folder).read_summary().status is Status.FINISHED
    assert "verdict" in typed.out


def test_a_signal_while_memory_is_looked_at_leaves_a_run_to_resume(
    tiny, type_train, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        end_of_run, "short_extraction", lambda *_: os.kill(os.getpid(), signal.SIGTERM)
    )
    typed = type_train(*tiny, *SHORT)
    assert typed.code == 128 + signal.SIGTERM
    (folder,) = run_folders(tmp_path)
    assert RunFolder(folder).read_summary().status is Status.INTERRUPTED
