"""Printed commands run as they stand, whatever a folder is called."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from minigpt.command_lines import hydra_value, quoted_override, resume_command, sweep_command
from minigpt.training.lit_gpt import LitGPT

NAMES = ["a b", "x=1,y=2", "p(1)", "[q]"]
NASTY = [*NAMES, "plain", "a'b", 'a"b', "a\\", "a\\\\", 'a\\"', "{c:d}", "~x", "a:b", "#", "$x",
         "${x}", "é", "", "null"]  # fmt: skip


@pytest.mark.parametrize("name", NASTY)
def test_hydra_reads_a_quoted_value_as_it_was(name):
    override = OverridesParser.create().parse_override(f"key={hydra_value(name)}")
    value = OmegaConf.create({"key": override.value()}).key
    assert (value or "null" if name == "null" else value) == name


@pytest.mark.parametrize("name", NAMES)
def test_a_printed_command_gives_hydra_the_folder(name, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "-m", "seed=1,2", "hydra.sweep.dir=old"])
    program, script, *words, last = shlex.split(sweep_command(name))
    assert (program, script, words) == ("python", "train.py", ["-m", "seed=1,2"])
    override = OverridesParser.create().parse_override(last)
    assert (override.key_or_group, override.value()) == ("hydra.sweep.dir", name)
    assert shlex.split(resume_command(Path(name)))[2] == f"resume={name}"


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("minigpt train", ["minigpt", "train"]),
        ("train.py", ["python", "train.py"]),
        ("../code/train.py", ["python", "../code/train.py"]),
        ("-c", ["python", "train.py"]),
    ],
)
def test_a_printed_command_starts_as_the_user_did(program, words, monkeypatch):
    monkeypatch.setattr(sys, "argv", [program])
    assert shlex.split(resume_command(Path("run"))) == [*words, "resume=run"]


def test_an_override_that_quotes_cannot_mend_gets_no_advice():
    assert quoted_override("a b") is None
    assert quoted_override("(=3") is None


@pytest.mark.parametrize("name", NAMES[:2])
@pytest.mark.parametrize("kind", ["run", "sweep"])
def test_the_command_that_a_stopped_run_prints_continues_it_in_a_shell(
    tiny, type_train, tmp_path, monkeypatch, name, kind
):
    step = LitGPT.training_step

    def stopping(self, batch, batch_idx):
        if self.global_step == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batch, batch_idx)

    many = ["-m", "seed=1,2"] if kind == "sweep" else []
    with monkeypatch.context() as context:
        context.setattr(LitGPT, "training_step", stopping)
        stopped = type_train(
            *many, *tiny, "trainer.max_epochs=1", "trainer.limit_train_batches=3",
            f"hydra.{kind}.dir={hydra_value(name)}",
        )  # fmt: skip
    assert stopped.code == 143, stopped.err
    command = stopped.err.splitlines()[-1].partition(" with: ")[2]
    assert command.startswith("python train.py ")
    words = subprocess.run(
        ["bash", "-c", command.replace("python train.py", r"printf '%s\0'", 1)],
        capture_output=True, text=True, check=True,
    ).stdout.split("\0")[:-1]  # fmt: skip
    continued = type_train(*words)
    assert continued.code == 0, continued.err
    summaries = list((tmp_path / name).rglob("summary.json"))
    assert len(summaries) == (2 if kind == "sweep" else 1)
    assert all('"status": "finished"' in path.read_text() for path in summaries)
