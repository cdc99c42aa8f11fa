"""`minigpt` finds the file of each command, and `minigpt train` is `python train.py`."""

import json
import subprocess
import sys

import pytest

from minigpt.commands.main import COMMANDS
from tests.conftest import REPOSITORY

SHORT = ["trainer.max_epochs=1", "trainer.limit_train_batches=3", "hydra.run.dir=run"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(type_minigpt, monkeypatch, name):
    monkeypatch.setattr(sys, "argv", ["minigpt"])
    typed = type_minigpt(name, "--help")
    assert (typed.code, typed.err) == (0, "")
    assert "key=value" in typed.out or f"usage: minigpt {name}" in typed.out


@pytest.mark.parametrize("arguments", [["-m", "minigpt.commands.main", "--help"],
                                       [str(REPOSITORY / "train.py"), "--help"]])  # fmt: skip
def test_help_does_not_wait_for_torch(arguments, tmp_path):
    no_torch = tmp_path / "torch"
    no_torch.mkdir()
    (no_torch / "__init__.py").write_text("raise SystemExit('torch was imported')")
    done = subprocess.run(
        [sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"PYTHONPATH": f"{tmp_path}:{REPOSITORY}"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_minigpt_train_trains_and_can_be_resumed(type_minigpt, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["minigpt"])
    assert type_minigpt("train", *tiny, *SHORT).code == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["status"] == "finished"
    assert summary["command"].startswith("minigpt train data=files ")
    again = type_minigpt("train", *tiny, *SHORT)
    assert again.code == 2
    assert again.err == (
        "error: run already holds a run; continue it with: minigpt train resume=run\n"
    )
    assert type_minigpt("train", "resume=run", "trainer.max_epochs=2").code == 0


@pytest.mark.parametrize("word", ["resume=run", "+resume=run", "++resume=run", "resume="])
@pytest.mark.parametrize("name", ["prepare", "inspect", "check", "verify-resume"])
def test_a_command_that_continues_no_run_refuses_resume(type_minigpt, name, word, tmp_path):
    typed = type_minigpt(name, word)
    assert (typed.code, typed.out, typed.err.count("\n")) == (2, "", 1)
    assert typed.err.startswith(f"error: {word.lstrip('+')}: ")
    assert typed.err.endswith("; leave it out\n")
    assert not list(tmp_path.iterdir())
