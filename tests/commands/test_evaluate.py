"""`minigpt evaluate` as a user types it, and the evaluation at the end of a run."""

import json
import math
import os
import pickle

import pyarrow.parquet
import pytest
import torch

from tests.conftest import run_folders
from tests.test_train import summary

NEEDED = {"loss", "perplexity", "bits_per_byte", "bits_per_byte_stderr", "tokens", "bytes",
          "documents"}  # fmt: skip


@pytest.fixture
def run(tiny, type_train, tmp_path):
    typed = type_train(*tiny, "trainer.max_epochs=1")
    assert (typed.code, typed.err) == (0, "")
    (folder,) = run_folders(tmp_path)
    return folder


def test_a_run_ends_with_the_figures_that_the_command_gives_again(run, type_minigpt):
    ended = summary(run)["evaluation"]
    assert ended.keys() == {"val", "test"}
    first = json.loads((run / "evaluation.json").read_text())
    table = pyarrow.parquet.read_table(run / "documents.parquet").to_pylist()
    typed = type_minigpt("evaluate", str(run), "--json")
    assert (typed.code, typed.err) == (0, "")
    found = json.loads(typed.out)
    assert found == first == json.loads((run / "evaluation.json").read_text())
    assert found.keys() >= NEEDED
    assert (found["split"], found["checkpoint"]) == ("test", "best.ckpt")
    for split, figures in found["splits"].items():
        rows = [row for row in table if row["split"] == split]
        assert figures["documents"] == len(rows) == summary(run)["data"]["documents"][split]
        nats, size = (sum(row[key] for row in rows) for key in ("nats", "bytes"))
        assert figures["bits_per_byte"] == pytest.approx(nats / math.log(2) / size)
        for key, value in ended[split].items():
            assert figures[key] == value, key
        # char: a byte a token, and the first of each document is not scored
        texts = summary(run)["data"]["tokens"][split]
        assert figures["tokens"] == figures["bytes"] == texts - len(rows)
        assert sum(domain["tokens"] for domain in figures["domains"].values()) == texts - len(rows)
    assert {row["name"] for row in table} == {
        row["name"] for row in table if row["name"].endswith(".txt")
    }
    assert found["bits_per_byte"] == found["splits"]["test"]["bits_per_byte"]


def test_the_figures_are_printed_with_how_they_were_made(run, type_minigpt, tmp_path):
    typed = type_minigpt("evaluate", str(run), "--stride", "2", "--split", "val", "--out", "there")
    assert (typed.code, typed.err) == (0, "")
    text = " ".join(typed.out.split())
    for part in (
        "windows of 8 tokens that move on by 2",
        "its first one is not scored, since the model knows no separator",
        "the run's validation loss differs a little: it reads the split as one stream",
        "written there/evaluation.json, documents.parquet",
    ):
        assert part in text
    there = json.loads((tmp_path / "there" / "evaluation.json").read_text())
    assert there["splits"].keys() == {"val"}


def test_another_text_is_read_in_the_models_own_ids_and_only_printed(run, type_minigpt, tmp_path):
    before = (run / "evaluation.json").read_bytes()
    other = tmp_path / "other.txt"
    other.write_text("the boats wait for the tide", "utf-8")
    text = ["data=files", f"data.files=[{other}]", f"data.root={tmp_path}/tokens"]
    for target in (run, run / "checkpoints" / "best.ckpt"):
        typed = type_minigpt("evaluate", str(target), *text, "--split", "train", "--json")
        assert (typed.code, typed.err) == (0, "")
        assert json.loads(typed.out)["bytes"] == 26
    assert (run / "evaluation.json").read_bytes() == before
    typed = type_minigpt("evaluate", str(run), *text, "--split", "train", "--out", "there")
    assert json.loads((tmp_path / "there" / "evaluation.json").read_text())["bytes"] == 26
    assert (tmp_path / "there" / "documents.parquet").is_file()
    other.write_text("the boats ß", "utf-8")
    typed = type_minigpt("evaluate", str(run), *text, "--split", "train")
    assert (typed.code, typed.err.count("\n")) == (2, 1)
    assert "the character 'ß' is not among" in typed.err


def test_a_checkpoint_in_its_run_reads_the_runs_text_and_writes_nothing(run, type_minigpt):
    whole = json.loads((run / "evaluation.json").read_text())
    (run / "evaluation.json").unlink()
    typed = type_minigpt("evaluate", str(run / "checkpoints" / "best.ckpt"), "--json")
    assert json.loads(typed.out) == whole
    assert not (run / "evaluation.json").exists()


def test_only_the_usual_measurement_is_kept_as_the_runs(run, type_minigpt, tmp_path):
    files = run / "evaluation.json", run / "documents.parquet"
    before = [file.read_bytes() for file in files]
    for unusual in (["--split", "train"], ["--stride", "2"], ["--which", "last"],
                    ["--precision", "bfloat16"]):  # fmt: skip
        typed = type_minigpt("evaluate", str(run), *unusual)
        assert typed.code == 0
        assert "written  nothing; --out FOLDER writes the figures" in typed.out
        assert [file.read_bytes() for file in files] == before
    typed = type_minigpt("evaluate", str(run), "--stride", "2", "--out", "there")
    assert json.loads((tmp_path / "there" / "evaluation.json").read_text())["stride"] == 2
    assert [file.read_bytes() for file in files] == before


class Harmful:
    def __reduce__(self):
        return (os.system, ("touch executed",))


def test_what_cannot_be_evaluated_is_one_line(run, type_minigpt, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    best = run / "checkpoints" / "best.ckpt"
    torch.save({"model": {"weight": torch.zeros(2)}}, tmp_path / "another.ckpt")
    (tmp_path / "cut.ckpt").write_bytes(best.read_bytes()[:-2000])
    (tmp_path / "harmful.ckpt").write_bytes(pickle.dumps(Harmful()))
    torch.save({"state_dict": {}, "hyper_parameters": Harmful()}, tmp_path / "hidden.ckpt")
    bare = tmp_path / "bare"
    (bare / "checkpoints").mkdir(parents=True)
    (bare / "checkpoints" / "best.ckpt").write_bytes(best.read_bytes())
    (tmp_path / "alone.ckpt").write_bytes(best.read_bytes())
    text = [f"data.root={tmp_path}/tokens"]
    (tmp_path / "more.txt").write_text("other letters: XYZ", "utf-8")
    corpus = ["data=files", "data.files=[more.txt]", "data.tokenizer=char", "data.root=other"]
    assert type_minigpt("prepare", *corpus).code == 0
    (store,) = (tmp_path / "other").glob("files-*")
    for arguments, message in [
        (
            ["another.ckpt"],
            "another.ckpt is not a minigpt checkpoint: it has no hyper_parameters model",
        ),
        (["cut.ckpt"], "cut.ckpt is not a readable checkpoint"),
        (["harmful.ckpt"], "harmful.ckpt is not a readable checkpoint"),
        (["hidden.ckpt"], "hidden.ckpt is not a checkpoint that minigpt saved: it names posix.sys"),
        (["nowhere.ckpt"], "no such checkpoint: nowhere.ckpt"),
        (["bare"], "bare is not in a run folder, whose text would be read; name a "),
        (["alone.ckpt"], "alone.ckpt is not in a run folder, whose text would be read; name a "),
        ([str(run), "--stride", "9"], "stride must lie between 1 and 8, the model's block_size"),
        ([str(run), "model=base"], "model=base: only data=... names another text"),
        ([str(run), "data.tokenizer=gpt2", *text], "data.tokenizer=gpt2: the model reads the ids"),
        (
            [str(run), "data=store", f"data.files=[{store}]"],
            f"{store}: its ids are those of tokeniz",
        ),
        (
            [str(run), "--device", "cuda"],
            "--device cuda: torch finds no GPU here; use --device cpu",
        ),
        ([str(run), "--split", "dev"], "argument --split: invalid choice: 'dev'"),
    ]:
        typed = type_minigpt("evaluate", *arguments)
        assert (typed.code, typed.err.count("\n")) == (2, 1), typed
        assert typed.err.startswith(f"error: {message}")
    assert not (tmp_path / "executed").exists()


def test_bfloat16_is_near_float32(run, type_minigpt):
    exact, near = (
        json.loads(type_minigpt("evaluate", str(run), "--precision", precision, "--json").out)
        for precision in ("float32", "bfloat16")
    )
    assert near["loss"] == pytest.approx(exact["loss"], rel=0.01)
    assert near["loss"] != exact["loss"]


def test_a_failed_evaluation_leaves_the_run_finished(tiny, type_train, tmp_path, monkeypatch):
    def failing(*arguments):
        raise RuntimeError("no memory\nat all")

    monkeypatch.setattr("minigpt.evaluation.evaluate.score_documents", failing)
    typed = type_train(*tiny, "trainer.max_epochs=1", "hydra.run.dir=run")
    assert (typed.code, typed.err) == (
        0,
        "the run is finished, but its evaluation failed: no memory; try again with: minigpt "
        "evaluate run\n",
    )
    found = summary(tmp_path / "run")
    assert (found["status"], found["evaluation"]) == ("finished", {})
    assert found["test"]["loss"] > 0


def test_a_run_evaluates_no_more_than_its_validation_and_test_read(tiny, type_train, tmp_path):
    typed = type_train(*tiny, "trainer.max_epochs=1", "data.eval_batch_size=16",
                       "trainer.limit_val_batches=2", "trainer.limit_test_batches=0")  # fmt: skip
    assert (typed.code, typed.err) == (0, "")
    (folder,) = run_folders(tmp_path)
    evaluation = summary(folder)["evaluation"]
    figures = evaluation["val"]
    bits, error = (f"{figures[key]:.3f}" for key in ("bits_per_byte", "bits_per_byte_stderr"))
    assert f"{bits} ± {error} bits per byte on" in " ".join(typed.out.split())
    assert evaluation.keys() == {"val"}
    # 2 x 16 x 8 of the characters; the first of each document is not scored.
    assert evaluation["val"]["tokens"] == 256 - evaluation["val"]["documents"]


def test_a_run_without_validation_and_test_is_not_evaluated(tiny, type_train, tmp_path):
    typed = type_train(*tiny, "trainer.max_epochs=1", "trainer.limit_val_batches=0",
                       "trainer.limit_test_batches=0")  # fmt: skip
    assert (typed.code, typed.err) == (0, "")
    (folder,) = run_folders(tmp_path)
    assert summary(folder)["evaluation"] == {}
    assert not (folder / "evaluation.json").exists()
