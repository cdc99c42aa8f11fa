"""Trains one run in its folder, from its configuration to its report."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from minigpt.command_lines import (
    evaluate_command,
    hydra_value,
    memorization_command,
    resume_command,
    train_command,
)
from minigpt.commands.other_process import COMMAND
from minigpt.commands.rewind import earlier_rewinds, note_rewind
from minigpt.config import plain
from minigpt.error_lines import explain
from minigpt.lean_imports import without_collection
from minigpt.runs.run_config import is_same, resolved
from minigpt.runs.run_folder import RunFolder
from minigpt.shown_text import on_one_line
from minigpt.signals import Interrupted

if TYPE_CHECKING:
    from minigpt.runs.summary import Rewind
    from minigpt.training.build import Run
    from minigpt.training.callbacks.run_summary import RunSummary
    from minigpt.training.resume import ResumePoint


def train(
    config: DictConfig, run: RunFolder, overrides: list[str], *, resume: bool
) -> float | None:
    """Train one run in its folder; returns its lowest held-out bits per byte.

    They are what a sweep minimises, since nats a token depend on the tokenizer.
    Raises UserError for what the user can mend, Interrupted after a signal.
    """
    with without_collection():
        from minigpt.training.finite import DivergedError

    while True:
        rewinds = earlier_rewinds(run) if resume else []
        try:
            return _train(config, run, overrides, rewinds, resume=resume)
        except DivergedError as error:
            if config.get("on_nan") != "rewind" or not run.has_checkpoint:
                raise
            if len(rewinds) >= config.max_rewinds:
                error.args = (f"{error}; that was after {len(rewinds)} rewinds (max_rewinds)",)
                raise
            note_rewind(run, config.optimizer.lr, str(error))
            resume = True


def _train(
    config: DictConfig,
    run: RunFolder,
    overrides: list[str],
    rewinds: "list[Rewind]",
    *,
    resume: bool,
) -> float | None:
    # Imported only now: --help and a mistyped key must not wait for torch.
    with without_collection():
        from minigpt.reports.run_report import print_report
        from minigpt.reproductions.all_reports import REPRODUCTIONS
        from minigpt.runs.summary import Status
        from minigpt.training.build import run_mirror
        from minigpt.training.callbacks.metrics import Metrics
        from minigpt.training.launcher import OtherProcessFailedError, join_processes
        from minigpt.training.meeting import Job
        from minigpt.training.memory import reset_peak_memory
        from minigpt.training.processes import is_first

    summary, parts, point = _build(config, run, overrides, rewinds, resume=resume)
    trainer = parts.trainer
    mirror = run_mirror(config) if is_first(trainer) else None
    if mirror is not None:
        mirror.copy()  # a URL that cannot be written to is found now, not after hours
    if is_first(trainer):
        run.write_config(resolved(config))
    reset_peak_memory()
    job = Job(OmegaConf.to_yaml(config, resolve=True), str(run.path), overrides, resume)
    try:
        with join_processes(trainer, parts.data, job, COMMAND):
            _fit_and_test(run, parts, point.path if point else None)
            summary.write(trainer, Status.RUNNING)
        if is_first(trainer):
            problem = _study(run, parts)
            # Only now: a run that is killed in its evaluation is one to resume.
            end = {"status": Status.FINISHED, "reason": problem}
            run.write_summary(run.read_summary().model_copy(update=end))
    except Interrupted as stop:
        if run.has_checkpoint:
            copy = f" mirror={hydra_value(url)}" if (url := config.get("mirror")) else ""
            stop.hint = f"; continue with: {resume_command(run.path)}{copy}"
        raise
    except OtherProcessFailedError as error:
        # Until now all that this process knew was that it lost the connection.
        summary.on_exception(trainer, parts.lit, error)
        raise
    finally:
        is_copied = mirror is not None and mirror.update()
    if is_first(trainer):
        print_report(run, REPRODUCTIONS)
        if mirror is not None and is_copied:
            print(f"copy     {mirror.remote.url}")
    return best.val_bits_per_byte if (best := Metrics.of(trainer).best) else None


def _build(
    config: DictConfig,
    run: RunFolder,
    overrides: list[str],
    rewinds: "list[Rewind]",
    *,
    resume: bool,
) -> "tuple[RunSummary, Run, ResumePoint | None]":
    """The run's record, its parts, and where it goes on; nothing in its folder changes."""
    with without_collection():
        from minigpt.training.build import build_run
        from minigpt.training.callbacks.hparams import TensorBoardHparams
        from minigpt.training.callbacks.run_summary import RunSummary
        from minigpt.training.processes import find_environment, is_first, use_launched_processes
        from minigpt.training.resume import check_resume, read_resume_point
        from minigpt.version import code_commit

    commit = code_commit()  # now: the tree may change while the run trains
    point = read_resume_point(run, config.data.tokenizer) if resume else None
    is_asked = not resume or any("trainer.devices" in word for word in overrides)
    use_launched_processes(config, find_environment(), is_asked=is_asked)
    summary = RunSummary(run, train_command(), overrides, commit, rewinds)
    parts = build_run(
        config,
        [summary, TensorBoardHparams(plain(config))],
        resumed=resume,
        tokenizer=point.tokenizer if point else None,
        halvings=len(rewinds),
    )
    if point is not None:
        is_changed = not is_same(config, run)
        check_resume(point, parts.lit, parts.data, parts.trainer, changed=is_changed)
        if point.damage and is_first(parts.trainer):
            print(on_one_line(point.damage), file=sys.stderr)
    return summary, parts, point


def _fit_and_test(run: RunFolder, parts: "Run", resume_from: Path | None) -> None:
    parts.trainer.fit(parts.lit, parts.data, ckpt_path=resume_from, weights_only=True)
    if run.best.exists():  # there is none where a run ended before its first validation
        # trainer.test(ckpt_path=...) would set the callbacks back to that epoch as well.
        best = parts.trainer.strategy.load_checkpoint(run.best)
        parts.lit.load_state_dict(best["state_dict"])
    if len(parts.data.blocks["test"]):
        parts.trainer.test(parts.lit, parts.data, verbose=False)


def _study(run: RunFolder, parts: "Run") -> str | None:
    """Add to a trained run what its network knows.

    A failure is said and returned, and the run is finished.
    """
    from minigpt.evaluation.end_of_run import evaluate_run, look_for_memory

    studies = (
        ("its evaluation", evaluate_run, evaluate_command),
        ("the look at what it memorised", look_for_memory, memorization_command),
    )
    problem = None
    for what, study, command in studies:
        try:
            study(run, parts)
        except Exception as error:
            problem = f"{what} failed: {explain(error)}"
            print(
                f"the run is finished, but {problem}; try again with: {command(run.path)}",
                file=sys.stderr,
            )
    return problem
