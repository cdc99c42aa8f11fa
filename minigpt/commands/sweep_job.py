"""One job of a sweep: run, resumed or left as it is; its failure is recorded, the sweep goes on."""

import math
import shutil
import traceback

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from minigpt.command_lines import sweep_command
from minigpt.commands.start import with_start
from minigpt.commands.sweep import reason_of, said, say
from minigpt.errors import UserError
from minigpt.runs.run_config import resolved
from minigpt.runs.run_folder import RunFolder
from minigpt.runs.summary import Status, Summary
from minigpt.signals import Interrupted


def run_job(config: DictConfig, run: RunFolder, overrides: list[str]) -> float:
    """Runs one job, or resumes it if it was interrupted; a finished job is left as it is.

    Returns its best held-out bits per byte. A failure is recorded and gives NaN, so that the next
    jobs run. Raises UserError where the folder holds a job with other settings.
    """
    from minigpt.commands.train import train  # which imports this file

    with run.claim():
        try:
            config = with_start(config, overrides)
        except UserError as error:
            if not run.has_run:  # what an earlier start left does not depend on the folder
                _record_failure(config, run, error)
            return math.nan
        summary = _earlier_summary(config, run)
        if summary.status is Status.FINISHED and _is_tested(summary):
            say(f"job {run.path.name} is finished already")
            return _bits_per_byte(summary)
        failed = summary.status in (Status.FAILED, Status.DIVERGED)
        resume = run.last.exists() and not failed
        if not resume:
            _empty(run)
        try:
            bits = train(config, run, overrides, resume=resume)
        except Interrupted as stop:
            command = sweep_command(HydraConfig.get().sweep.dir)
            stop.hint = f"; continue the sweep with: {command}"
            raise
        except Exception as error:
            _record_failure(config, run, error)
            return math.nan
        return math.nan if bits is None else bits


def _earlier_summary(config: DictConfig, run: RunFolder) -> Summary:
    """The summary that an earlier start of this job left; Status.FAILED where there is none."""
    if not run.has_run:
        if not run.is_empty and not run.config.exists():
            raise UserError(
                f"{run.path} is not empty and holds no run; choose another hydra.sweep.dir"
            )
        return Summary(status=Status.FAILED)
    earlier, now = run.read_config(), resolved(config)
    if {**earlier, "run_dir": ""} != {**now, "run_dir": ""}:
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


def _is_tested(summary: Summary) -> bool:
    return summary.test is not None or not (summary.data and summary.data.tokens.get("test"))


def _empty(run: RunFolder) -> None:
    """Remove what an earlier start left, except the lock that this process holds."""
    for path in run.path.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif not run.is_lock(path):
            path.unlink()


def _record_failure(config: DictConfig, run: RunFolder, error: Exception) -> None:
    reason = reason_of(error)
    if not isinstance(error, UserError):
        traceback.print_exception(error)
    if reason not in said:
        say(f"job {run.path.name} failed: {reason}")
    run.write_config(resolved(config))
    try:
        summary = run.read_summary()
    except UserError:
        summary = Summary(status=Status.FAILED)
    if summary.status is not Status.DIVERGED:
        summary = summary.model_copy(update={"status": Status.FAILED})
    run.write_summary(summary.model_copy(update={"reason": reason}))
