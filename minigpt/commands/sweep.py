"""A sweep: checked before its first job, outlived by its other jobs, compared at its end.

Nothing heavy is imported until a sweep runs: Hydra loads this file at every start.
"""

import math
import os
import shutil
import sys
import traceback
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from minigpt.config import SWEPT, compose_config
from minigpt.error_lines import explain
from minigpt.errors import UserError
from minigpt.runs.run_config import resolved
from minigpt.runs.run_folder import RunFolder
from minigpt.runs.summary import Status, Summary
from minigpt.signals import Interrupted


class Sweep(Callback):
    """Hydra's calls before a sweep's first job and after its last."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Names what is swept, for the jobs' folders, and says which jobs cannot run and why."""
        sweeper = config.hydra.sweeper
        given = [f"{key}={value}" for key, value in (sweeper.get("params") or {}).items()]
        given += config.hydra.overrides.task
        overrides = OverridesParser.create().parse_overrides(given)
        swept = [o.get_key_element() for o in overrides if o.is_sweep_override()]
        os.environ[SWEPT] = "|".join(dict.fromkeys(key.lstrip("+") for key in swept))
        if not sweeper._target_.endswith("BasicSweeper"):
            return  # its jobs are not known yet
        from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

        from minigpt.commands.check import check

        (jobs,) = BasicSweeper.split_arguments(overrides, None)
        for number, job in enumerate(jobs):
            try:
                check(compose_config(job))
            except Exception as error:
                _say(f"job {number} cannot run: {_reason(error)}")

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Writes the sweep's report; a job that did not finish makes the exit code 1."""
        from minigpt.reports.comparison import compare, print_comparison

        folder = Path(config.hydra.sweep.dir)
        if not folder.is_dir():
            return
        try:
            runs = compare([folder], folder)
            print_comparison(runs, folder)
        except Interrupted as stop:
            stop.hint = f"; {_same_command(config.hydra.sweep.dir)} makes the report"
            raise
        except Exception as error:  # of which Hydra would make a warning, and an exit code of 0
            traceback.print_exception(error)
            _say(f"the report failed: {_reason(error)}; the runs are in {folder}")
            raise SystemExit(1) from None
        unfinished = [run for run in runs if not run.is_finished]
        if unfinished:
            _say(
                f"{len(unfinished)} of {len(runs)} jobs did not finish; "
                f"{_same_command(config.hydra.sweep.dir)} tries them again"
            )
            raise SystemExit(1)


def run_job(config: DictConfig, run: RunFolder, overrides: list[str]) -> float:
    """Runs one job unless it has finished; a job that was interrupted goes on.

    Returns its best held-out loss, or NaN where it fails, which is recorded and said; the jobs
    after it go on. Raises UserError where the folder holds a job with other settings.
    """
    from minigpt.commands.train import train

    with run.claim():
        summary = _earlier_summary(config, run)
        if summary.status is Status.FINISHED and _is_tested(summary):
            _say(f"job {run.path.name} is finished already")
            return summary.best.val_loss if summary.best else math.nan
        failed = summary.status in (Status.FAILED, Status.DIVERGED)
        resume = run.last.exists() and not failed
        if not resume:
            _empty(run)
        try:
            loss = train(config, run, overrides, resume=resume)
        except Interrupted as stop:
            stop.hint = f"; {_same_command(HydraConfig.get().sweep.dir)} continues the sweep"
            raise
        except Exception as error:
            _record_failure(config, run, error)
            return math.nan
        return math.nan if loss is None else loss


def _earlier_summary(config: DictConfig, run: RunFolder) -> Summary:
    """What an earlier start of the same job left; of none, that of a failure."""
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


def _is_tested(summary: Summary) -> bool:
    return summary.test is not None or not (summary.data and summary.data.tokens.get("test"))


def _empty(run: RunFolder) -> None:
    """Remove what an earlier start left, but for the lock that this process holds."""
    for path in run.path.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif not run.is_lock(path):
            path.unlink()


def _record_failure(config: DictConfig, run: RunFolder, error: Exception) -> None:
    reason = _reason(error)
    if not isinstance(error, UserError):
        traceback.print_exception(error)
    _say(f"job {run.path.name} failed: {reason}")
    run.write_config(resolved(config))
    try:
        summary = run.read_summary()
    except UserError:
        summary = Summary(status=Status.FAILED)
    if summary.status is not Status.DIVERGED:
        summary = summary.model_copy(update={"status": Status.FAILED})
    run.write_summary(summary.model_copy(update={"reason": reason}))


def _reason(error: Exception) -> str:
    return explain(error) or type(error).__name__


def _same_command(folder: str) -> str:
    return f"the same command with hydra.sweep.dir={folder}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
