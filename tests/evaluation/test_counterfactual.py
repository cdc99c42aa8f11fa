"""A sweep over halves of the documents tells which are known only when trained on."""

import json
import re

import pytest

from minigpt.errors import UserError
from minigpt.evaluation.counterfactual import read_counterfactual
from minigpt.runs.run_folder import RunFolder
from minigpt.runs.summary import Status
from tests.written_runs import write_run

HALF = {"fraction": 0.5, "seed": 1, "complement": False}
MEMORISING = ["model.n_embd=32", "model.block_size=32", "data.stride=8", "trainer.max_epochs=4",
              "optimizer.lr=5e-3", "model.dropout=0"]  # fmt: skip


def test_a_sweep_over_halves_lists_what_was_known_only_by_training(
    tiny, corpus, type_train, type_minigpt, tmp_path
):
    for i, path in enumerate(sorted(corpus.glob("*.txt"))[:12]):  # that nobody could guess
        path.write_text(f"{i**7 + 10**9} {i**9 + 10**11}\n" * 3)
    pairs = ["+sweep=counterfactual", "data.subset.seed=1,2", "hydra.sweep.dir=sweep"]
    typed = type_train(*tiny, *MEMORISING, *pairs, "~callbacks.samples")
    sweep = tmp_path / "sweep"
    assert typed.code == 0
    assert typed.err.splitlines() == [
        f"scoring all documents with model {number} of 4" for number in (1, 2, 3, 4)
    ]
    result = read_counterfactual(sweep)
    assert result.models == 4
    # A half and the other half are in a pair, so two models know each document.
    documents = result.documents
    assert len(result.top) == documents > 15
    assert result.left_out == 0
    assert all((d.models_with, d.models_without) == (2, 2) for d in result.top)
    for document in result.top:
        difference = document.accuracy_with - document.accuracy_without
        assert document.memorization == pytest.approx(difference)
    assert [d.memorization for d in result.top] == sorted(
        (d.memorization for d in result.top), reverse=True
    )
    assert result.mean > 0.02
    assert result.top[0].memorization > 0.1
    assert result.top[0].beginning[:10].isdigit()
    assert result.beyond_chance > documents / 4
    assert result.below_chance < result.beyond_chance / 4
    assert "Known only when trained on" in (sweep / "report.html").read_text()
    report = (sweep / "report.md").read_text()
    assert "Zhang et al., 2023" in report
    # The command for one of the jobs trains on the same half.
    assert re.search(r"train.py .*data.subset.fraction=0.5 data.subset.seed=2 .*nt=True", report)
    (sweep / "report.html").unlink()
    again = type_minigpt("counterfactual", "sweep", "--json")
    assert json.loads(again.out) == json.loads(result.model_dump_json())
    assert (sweep / "report.html").exists()


def test_runs_that_cannot_be_compared_are_refused_in_one_line(type_minigpt, tmp_path):
    def refused():
        typed = type_minigpt("counterfactual", "sweep")
        assert (typed.code, typed.out, typed.err.count("\n")) == (2, "", 1)
        return typed.err

    sweep = tmp_path / "sweep"
    write_run(sweep / "0", 3.0)
    write_run(sweep / "1", 3.0, data__subset=HALF)
    assert "1 of 2 runs were trained on all documents; name a sweep that python" in refused()
    write_run(sweep / "0", 3.0, data__subset={**HALF, "seed": 2}, status=Status.FAILED)
    assert "1 of 2 runs finished, at least two are needed; run the sweep's com" in refused()
    write_run(sweep / "0", 3.0, data__subset={**HALF, "seed": 2}, optimizer__lr=0.1)
    assert "its runs differ in optimizer.lr, too; only data.subset and seed may" in refused()
    assert not (sweep / "counterfactual.json").exists()


def test_runs_of_different_texts_and_of_the_same_half_are_refused(
    tiny, corpus, type_train, type_minigpt, tmp_path
):
    short = ["trainer.max_epochs=1", "trainer.limit_train_batches=1", "data.subset.fraction=0.5"]
    for job in ("0", "1"):
        typed = type_train(*tiny, *short, f"hydra.run.dir=sweep/{job}")
        assert (typed.code, typed.err) == (0, "")
    typed = type_minigpt("counterfactual", "sweep")
    assert typed.code == 2
    assert "error: no document tells these 2 runs apart: each was trained on by all" in typed.err
    # A run of another text by the same name: its configuration is the same.
    config = RunFolder(tmp_path / "sweep/1").read_config()
    config["data"]["files"] = [f"{corpus}/0*.txt", f"{corpus}/1*.txt"]
    config["seed"] = 2
    RunFolder(tmp_path / "sweep/1").write_config(config)
    typed = type_minigpt("counterfactual", "sweep")
    assert typed.code == 2
    assert "its runs differ in data.files, too" in typed.err


@pytest.mark.parametrize("content", ["", "{", '{"models": 3}'])
def test_a_damaged_file_is_named_with_the_command_that_makes_it_again(tmp_path, content):
    (tmp_path / "counterfactual.json").write_text(content)
    with pytest.raises(UserError, match=f"is damaged .* with: minigpt counterfactual {tmp_path}"):
        read_counterfactual(tmp_path)


def test_a_folder_without_the_file_has_no_result(tmp_path):
    assert read_counterfactual(tmp_path) is None
