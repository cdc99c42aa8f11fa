"""One job of a sweep: run, resumed or left as it is; its failure is recorded, the sweep goes on."""

import math
import os
import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from minigpt.command_lines import sweep_command
from minigpt.commands.limited_job import RECORDED, JobDiedError, TimeLimitError, run_limited
from minigpt.commands.start import with_start
from minigpt.commands.sweep import reason_of, said, say
from minigpt.errors import UserError
from minigpt.runs.run_config import is_same, resolved
from minigpt.runs.run_folder import RunFolder
from minigpt.runs.summary import Status, Summary
from minigpt.signals import REQUEUED_AT, Interrupted, stop_signals


def run_job(
    config: DictConfig, run: RunFolder, overrides: list[str], minutes: float | None
) -> float:
    """Runs one job, or resumes it if it was interrupted or its evaluation failed.

    A job that is finished is left as it is. minutes: after which a job is ended. Returns its best
    held-out bits per byte. A failure is recorded and gives NaN, so that the next jobs run. Raises
    UserError where the folder holds a job with other settings.
    """
    with stop_for_launcher(), run.claim():
        try:
            config = with_start(config, overrides)
        except UserError as error:
            if not run.has_run:  # what an earlier start left does not depend on the folder
                record_failure(config, run, error)
            return math.nan
        summary = _earlier_summary(config, run)
        if summary.status is Status.FINISHED and summary.reason is None:
            say(f"job {run.path.name} is finished already")
            return _bits_per_byte(summary)
        # A loss that was not finite would be so again; a full disk may have room by now.
        resume = run.has_checkpoint and summary.status is not Status.DIVERGED
        if not resume:
            run.empty()
        try:
            return _train(minutes, config, run, overrides, resume)
        except Interrupted as stop:
            command = sweep_command(HydraConfig.get().sweep.dir)
            stop.hint = f"; continue the sweep with: {command}"
            raise
        except TimeLimitError as error:  # with more time it can go on
            status = Status.INTERRUPTED if run.has_checkpoint else Status.FAILED
            record_failure(config, run, error, status)
        except Exception as error:
            record_failure(config, run, error)
        return math.nan


def _train(
    minutes: float | None, config: DictConfig, run: RunFolder, overrides: list[str], resume: bool
) -> float:
    from minigpt.commands.one_run import train

    if minutes is None:
        bits = train(config, run, overrides, resume=resume)
        return math.nan if bits is None else bits
    code = run_limited(minutes, config, run, overrides, resume=resume)
    return math.nan if code == RECORDED else _bits_per_byte(run.read_summary())


@contextmanager
def stop_for_launcher() -> Iterator[None]:
    """In a job of submitit: its signal stops the run between two steps, then it requeues the job.

    Its handler alone would leave in the middle of a step. Elsewhere the block just runs.
    """
    handlers = {signum: signal.getsignal(signum) for signum in (signal.SIGUSR1, signal.SIGUSR2)}
    asks = [
        signum
        for signum, handler in handlers.items()
        if getattr(handler, "__module__", "").startswith("submitit.")
    ]
    if not asks:
        yield
        return
    os.environ[REQUEUED_AT] = str(int(asks[0]))
    try:
        with stop_signals():
            yield
    except Interrupted as stop:
        if stop.signum == asks[0]:
            signal.raise_signal(asks[0])  # submitit's handler requeues the job and exits
        raise


def _earlier_summary(config: DictConfig, run: RunFolder) -> Summary:
    """The summary that an earlier start of this job left; Status.FAILED where there is none."""
    if not run.has_run:
        if not run.is_empty and not run.config.exists():
            raise UserError(
                f"{run.path} is not empty and holds no run; choose another hydra.sweep.dir"
            )
        return Summary(status=Status.FAILED)
    if not is_same(config, run):
        raise UserError(
            f"{run.path} holds a job with other settings; give the sweep a new hydra.sweep.dir, or "
            "the overrides it had"
        )
    try:
        return run.read_summary()
    except UserError:
        return Summary(status=Status.KILLED)


def _bits_per_byte(summary: Summary) -> float:
    """NaN for a run of a version that did not measure them: losses must not stand beside them."""
    bits = summary.best.val_bits_per_byte if summary.best else None
    return math.nan if bits is None else bits


def record_failure(
    config: DictConfig, run: RunFolder, error: Exception, status: Status = Status.FAILED
) -> None:
    """Say why a job failed, and leave it in its summary."""
    reason = reason_of(error)
    if not isinstance(error, UserError | TimeLimitError | JobDiedError):
        traceback.print_exception(error)
    if reason not in said:
        say(f"job {run.path.name} failed: {reason}")
    run.write_config(resolved(config))
    try:
        summary = run.read_summary()
    except UserError:
        summary = Summary(status=status)
    if summary.status is not Status.DIVERGED:
        summary = summary.model_copy(update={"status": status})
    run.write_summary(summary.model_copy(update={"reason": reason}))
