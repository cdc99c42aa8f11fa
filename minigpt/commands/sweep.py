"""A sweep: checks every job before the first, and compares all of them at the end.

Hydra loads this file at every start, so it imports nothing heavy until a sweep runs.
"""

import os
import platform
import sys
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from minigpt.command_lines import sweep_command
from minigpt.commands.limited_job import job_minutes
from minigpt.commands.requeue import note_job
from minigpt.commands.start import with_start
from minigpt.config import SWEPT, compose_config
from minigpt.error_lines import explain, one_line_errors
from minigpt.errors import UserError
from minigpt.lean_imports import without_collection
from minigpt.runs.run_folder import RunFolder
from minigpt.signals import Interrupted

SEARCH_PATH = "hydra.searchpath="

_claims = ExitStack()  # the folder of the sweep that this process runs
said: set[str] = set()  # why jobs cannot run, so that no reason is said again when they fail


class Sweep(Callback):
    """Hydra calls this before a sweep's first job and after its last."""

    def on_multirun_start(self, config: DictConfig, config_name: str = "train", **_: Any) -> None:
        """Claim the sweep's folder, name the swept keys for the jobs' folders, check every job.

        Exits with code 2 where another process holds the folder, or no job can run.
        """
        with _exit_on_error("the sweep could not start"):
            job_minutes(config)
            _claims.enter_context(RunFolder(config.hydra.sweep.dir).claim())
            note_job(RunFolder(config.hydra.sweep.dir))
            sweeper = config.hydra.sweeper
            words = [f"{key}={value}" for key, value in (sweeper.get("params") or {}).items()]
            words += config.hydra.overrides.task
            overrides = OverridesParser.create().parse_overrides(words)
            swept = [o.get_key_element() for o in overrides if o.is_sweep_override()]
            os.environ[SWEPT] = "|".join(dict.fromkeys(key.lstrip("+") for key in swept))
            if not sweeper._target_.endswith("BasicSweeper"):
                return  # its jobs are not known yet
            searched = [w for w in config.hydra.overrides.hydra if w.startswith(SEARCH_PATH)]
            _check_jobs(overrides, searched, config_name)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Write the sweep's report. The exit code is 1 if a job did not finish."""
        folder = Path(config.hydra.sweep.dir)
        try:
            if folder.is_dir():
                with _exit_on_error(f"the report failed; the runs are in {folder}"):
                    _report(folder)
        except Interrupted as stop:
            stop.hint = f"; make the report with: {sweep_command(config.hydra.sweep.dir)}"
            raise
        finally:
            release_sweep()


def enter_sweep() -> Path:
    """Go to where the sweep was started, to which its paths are relative; returns the job's folder.

    Ray runs a job in a folder of its own. Raises UserError where a machine lacks the sweep's.
    """
    hydra = HydraConfig.get()
    try:
        os.chdir(hydra.runtime.cwd)
    except OSError as error:
        raise UserError(
            f"{hydra.runtime.cwd}, where the sweep was started, is not there on "
            f"{platform.node()} ({error.strerror}); start it in a folder that all machines share"
        ) from None
    return Path(hydra.sweep.dir, hydra.sweep.subdir).absolute()


def release_sweep() -> None:
    """Let other processes use the folder of this process's sweep again."""
    _claims.close()


@contextmanager
def _exit_on_error(consequence: str) -> Iterator[None]:
    """Exits with code 2 for a mistake of the user and with 1 for any other error.

    Hydra would turn an error of its callbacks into a warning and exit with code 0.
    """
    with one_line_errors():
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            traceback.print_exception(error)
            say(f"{consequence}: {reason_of(error)}")
            raise SystemExit(1) from None


def _check_jobs(overrides: list[Override], searched: list[str], config_name: str) -> None:
    """Say which jobs cannot run, each reason once. Raises UserError if none can."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    with without_collection():
        from minigpt.commands.check import check_config

    (jobs,) = BasicSweeper.split_arguments(overrides, None)
    numbers: dict[str, list[int]] = {}  # the jobs that cannot run, by reason
    for number, job in enumerate(jobs):
        try:
            composed = compose_config([*job, *searched], config_name)
            check_config(with_start(composed, job))
        except Exception as error:
            numbers.setdefault(reason_of(error), []).append(number)
    impossible = sum(map(len, numbers.values()))
    if impossible == len(jobs) and len(numbers) == 1:
        raise UserError(f"no job of this sweep can run: {next(iter(numbers))}")
    for reason, which in numbers.items():
        names = ", ".join(map(str, which))
        say(f"job{'s' if len(which) > 1 else ''} {names} cannot run: {reason}")
        said.add(reason)
    if impossible == len(jobs):
        raise UserError("no job of this sweep can run, for the reasons above")


def _report(folder: Path) -> None:
    from minigpt.reports.comparison import compare, print_comparison
    from minigpt.reproductions.all_reports import REPRODUCTIONS

    _measure_subsets(folder)
    runs = compare([folder], folder, REPRODUCTIONS)
    print_comparison(runs, folder)
    unfinished = [run for run in runs if not run.is_finished]
    if unfinished:
        say(
            f"{len(unfinished)} of {len(runs)} jobs did not finish; try them again with: "
            f"{sweep_command(str(folder))}"
        )
        raise SystemExit(1)


def _measure_subsets(folder: Path) -> None:
    """For a sweep over data.subset, score every document, so that the report can list them."""
    from minigpt.commands.counterfactual import differs_by_subset, measure
    from minigpt.reports.compared_runs import find_runs

    try:
        if differs_by_subset(find_runs([folder])):
            measure(folder)
    except UserError as error:
        say(f"counterfactual memorization is not measured: {error}")


def reason_of(error: Exception) -> str:
    """Why a job failed, in one line."""
    return explain(error) or type(error).__name__


def say(line: str) -> None:
    """Print a line about the sweep to standard error."""
    print(line, file=sys.stderr, flush=True)
