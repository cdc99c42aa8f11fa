"""A run from Python is the run that the command would start, and raises what it would print."""

import sys

import pytest

from minigpt.commands.train import train_run
from minigpt.errors import UserError
from minigpt.runs.summary import Status

SHORT = ["trainer.max_epochs=1", "trainer.limit_train_batches=3"]


def test_a_run_is_trained_and_continued_and_says_what_it_was(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = [*sys.argv]
    run = train_run([*tiny, *SHORT], folder="a run")
    summary = run.read_summary()
    assert (run.path, summary.status, summary.steps) == (tmp_path / "a run", Status.FINISHED, 3)
    assert summary.command.startswith("minigpt train data=files ")
    assert summary.command.endswith(""" 'hydra.run.dir="a run"'""")
    assert summary.overrides == [*tiny, *SHORT]
    assert sys.argv == arguments
    with pytest.raises(UserError, match=r"a run already holds a run; continue it with: "):
        train_run([*tiny, *SHORT], folder=run.path)
    train_run([f"resume={run.path}", "trainer.max_epochs=2"])
    assert run.read_summary().steps == 6
    with pytest.raises(UserError, match="a resumed run keeps its folder; leave out folder"):
        train_run([f"resume={run.path}"], folder="other")
    assert sys.argv == arguments


def test_without_a_folder_a_run_has_one_of_its_own(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = train_run([*tiny, *SHORT, "name=mine"])
    assert first.path.parent == tmp_path / "outputs" / "mine"
    assert train_run([*tiny, *SHORT, "hydra.run.dir=here"]).path == tmp_path / "here"


def test_what_the_user_can_mend_is_raised_and_leaves_nothing(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="optimizer.lr must be above 0"):
        train_run([*tiny, "optimizer.lr=-1"])
    assert list((tmp_path / "outputs").iterdir()) == []
