"""Proof, on the user's machine and configuration, that a resumed run is the undisturbed one."""

import argparse
import csv
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from minigpt.config import CONF, compose_config, unique
from minigpt.errors import UserError
from minigpt.runs.checkpoints import read_checkpoint

EPOCHS = 3
TIMED = {"tokens_per_second"}  # columns that no two runs share
STOPPED = 128 + signal.SIGTERM


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="as for train.py")
    parser.add_argument("--steps", type=int, default=24, help="optimizer steps of the trial run")


def run(args: argparse.Namespace) -> None:
    verify_resume(args.overrides, args.steps)


class StopAfter(pl.Callback):
    """Sends this process a SIGTERM once a number of optimizer steps are done."""

    def __init__(self, steps: int | None) -> None:
        self.steps = steps

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        if trainer.global_step == self.steps:
            self.steps = None
            os.kill(os.getpid(), signal.SIGTERM)


def verify_resume(overrides: list[str], steps: int) -> None:
    """Trains the same few steps undisturbed and stopped twice; prints what was compared.

    Three short epochs, with validation. The stops are in the first, and on the last step of the
    second, where its validation is due. Raises UserError where a run fails or the two differ.
    """
    per_epoch = steps // EPOCHS
    if per_epoch < 2:
        raise UserError(
            f"--steps must be at least {2 * EPOCHS}, two for each of {EPOCHS} epochs, got {steps}"
        )
    accumulate = compose_config(overrides).trainer.accumulate_grad_batches
    short = [
        f"trainer.max_epochs={EPOCHS}",
        "trainer.max_steps=-1",
        f"trainer.limit_train_batches={per_epoch * accumulate}",
        "trainer.limit_val_batches=2",
        "trainer.limit_test_batches=1",
        "trainer.val_check_interval=1.0",
        "trainer.log_every_n_steps=1",
        "name=verify-resume",
        "+callbacks.stop._target_=minigpt.commands.verify_resume.StopAfter",
    ]
    folder = Path("outputs/verify-resume") / unique()
    whole, parts = folder / "whole", folder / "parts"
    stops = [per_epoch // 2, 2 * per_epoch]
    start = [*overrides, *short, f"hydra.run.dir={parts}"]
    print(f"{EPOCHS * per_epoch} steps undisturbed", flush=True)
    _train([*overrides, *short, "+callbacks.stop.steps=null", f"hydra.run.dir={whole}"], 0)
    print(f"the same, stopped after step {stops[0]}", flush=True)
    _train([*start, f"+callbacks.stop.steps={stops[0]}"], STOPPED)
    print(f"resumed, stopped after step {stops[1]}", flush=True)
    _train([f"resume={parts}", f"+callbacks.stop.steps={stops[1]}"], STOPPED)
    print("resumed to the end", flush=True)
    _train([f"resume={parts}", "+callbacks.stop.steps=null"], 0)
    if differences := _differences(whole, parts):
        raise UserError(
            f"not the same: {'; '.join(differences)}; both runs are kept in {folder} "
            "(on a GPU some operations differ from one run to the next)"
        )
    rows = len(_losses(whole))
    print(
        f"identical to the last bit: {rows} rows of losses, learning rates and gradient norms, "
        "the weights, the optimizer's state"
    )
    shutil.rmtree(folder)


def _train(arguments: list[str], expected: int) -> None:
    done = subprocess.run(
        [sys.executable, str(CONF.parent / "train.py"), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if (done.returncode, expected) == (0, STOPPED):
        raise UserError(
            "the run ended before its stop: an epoch of this text has too few batches; lower "
            "--steps or data.batch_size, or give more text"
        )
    if done.returncode != expected:
        lines = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()
        raise UserError(lines[-1].removeprefix("error: "))


def _differences(whole: Path, parts: Path) -> list[str]:
    found = []
    ours, theirs = _losses(parts), _losses(whole)
    if len(ours) != len(theirs):
        found.append(f"{len(ours)} logged rows instead of {len(theirs)}")
    for row, expected in zip(ours, theirs, strict=False):
        if row != expected:
            key = next(key for key in expected if row.get(key) != expected[key])
            found.append(f"{key} at step {row['step']} is {row.get(key)}, not {expected[key]}")
            break
    last = [read_checkpoint(run / "checkpoints/last.ckpt") for run in (parts, whole)]
    for key in ("state_dict", "optimizer_states", "lr_schedulers"):
        if not _same(last[0][key], last[1][key]):
            found.append(f"{key} of the last checkpoint")
    return found


def _losses(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return [
            {key: value for key, value in row.items() if key not in TIMED}
            for row in csv.DictReader(file)
        ]


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)
