"""Proof, on the user's machine and configuration, that a resumed run is the undisturbed one."""

import argparse
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from minigpt.config import compose_config, refuse_resume, unique
from minigpt.errors import UserError
from minigpt.runs.checkpoints import RAW_WEIGHTS, read_checkpoint
from minigpt.runs.metrics import read_metrics
from minigpt.runs.run_folder import RunFolder

EPOCHS = 3
TIMED = {"tokens_per_second"}  # metrics in which two runs always differ
STOPPED = 128 + signal.SIGTERM


def run(args: argparse.Namespace) -> None:
    with redirect_stdout(sys.stderr) if args.json else nullcontext():
        proof = verify_resume(args.overrides, args.steps)
    if args.json:
        print(json.dumps(proof, indent=2))
    if proof["differences"]:
        raise UserError(
            f"not the same: {'; '.join(proof['differences'])}; both runs are kept in "
            f"{proof['kept']} (on a GPU some operations differ from one run to the next)"
        )
    if not args.json:
        print(
            f"identical to the last bit: {proof['rows']} rows of losses, learning rates and "
            "gradient norms, the weights, the optimizer's state"
        )


def verify_resume(overrides: Sequence[str], steps: int = 24) -> dict[str, Any]:
    """Trains the same few steps undisturbed and stopped twice; returns what was compared.

    Three short epochs, with validation. The first stop is in the first epoch, the second on the
    last step of the second epoch, before its validation. A budget and trainer.max_steps are left
    out, since `steps` is the length. Where the two differ, `differences` says how and their folder
    is kept. Raises UserError where a run fails.
    """
    per_epoch = steps // EPOCHS
    if per_epoch < 2:
        raise UserError(
            f"--steps must be at least {2 * EPOCHS}, two for each of {EPOCHS} epochs, got {steps}"
        )
    config = compose_config([*overrides])
    refuse_resume(config, "verify-resume trains new runs of its own")
    for key in ("budget.tokens", "budget.flops"):
        if (value := OmegaConf.select(config, key)) is not None:
            print(f"{key}={value} is left out: --steps is the length of these runs", flush=True)
    accumulate = config.trainer.accumulate_grad_batches
    short = [
        f"trainer.max_epochs={EPOCHS}",
        "trainer.max_steps=-1",
        "budget.tokens=null",
        "budget.flops=null",
        f"trainer.limit_train_batches={per_epoch * accumulate}",
        "trainer.limit_val_batches=2",
        "trainer.limit_test_batches=1",
        "trainer.val_check_interval=1.0",
        "trainer.log_every_n_steps=1",
        "name=verify-resume",
        "+callbacks.stop._target_=minigpt.training.callbacks.stop_after.StopAfter",
    ]
    named = _named_parts(config)
    folder = Path("outputs/verify-resume") / unique()
    whole, parts = RunFolder(folder / "whole"), RunFolder(folder / "parts")
    stops = [per_epoch // 2, 2 * per_epoch]
    start = [*overrides, *short, f"hydra.run.dir={parts.path}"]
    print(f"{EPOCHS * per_epoch} steps undisturbed", flush=True)
    _train([*overrides, *short, "+callbacks.stop.steps=null", f"hydra.run.dir={whole.path}"], 0)
    print(f"the same, stopped after step {stops[0]}", flush=True)
    _train([*start, f"+callbacks.stop.steps={stops[0]}"], STOPPED)
    print(f"resumed, stopped after step {stops[1]}", flush=True)
    _train([f"resume={parts.path}", f"callbacks.stop.steps={stops[1]}", *named], STOPPED)
    print("resumed to the end", flush=True)
    _train([f"resume={parts.path}", "callbacks.stop.steps=null", *named], 0)
    proof = {
        "steps": EPOCHS * per_epoch,
        "stopped_after": stops,
        "rows": len(_untimed_metrics(whole)),
        "differences": _differences(whole, parts),
        "kept": str(folder),
    }
    if not proof["differences"]:
        shutil.rmtree(folder)
        proof["kept"] = None
    return proof


def _named_parts(config: DictConfig) -> list[str]:
    """Overrides that name the classes of a user's own parts again, as a resume wants them."""
    return [
        f"{group}.{name}._target_={node._target_}"
        for group in ("callbacks", "logger")
        for name, node in (config[group] or {}).items()
    ]


def _train(arguments: list[str], expected: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "minigpt.commands.train", *arguments],
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


def _differences(whole: RunFolder, parts: RunFolder) -> list[str]:
    """What of the second run is not as in the first, in words; [] if nothing."""
    differences = []
    rows, expected_rows = _untimed_metrics(parts), _untimed_metrics(whole)
    if len(rows) != len(expected_rows):
        differences.append(f"{len(rows)} logged rows instead of {len(expected_rows)}")
    for row, expected in zip(rows, expected_rows, strict=False):
        if row != expected:
            key = next(key for key in {**expected, **row} if row.get(key) != expected.get(key))
            differences.append(
                f"{key} at step {row['step']:.0f} is {row.get(key)}, not {expected.get(key)}"
            )
            break
    last, expected_last = read_checkpoint(parts.last), read_checkpoint(whole.last)
    for key in ("state_dict", RAW_WEIGHTS, "optimizer_states", "lr_schedulers"):
        if not _same(last.get(key), expected_last.get(key)):
            differences.append(f"{key} of the last checkpoint")
    return differences


def _untimed_metrics(run: RunFolder) -> list[dict[str, float]]:
    return [
        {key: value for key, value in row.items() if key not in TIMED}
        for row in read_metrics(run.metrics)
    ]


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)
