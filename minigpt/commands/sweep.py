"""A sweep: checked whole before its first job, outlived by its other jobs, compared at its end.

Nothing heavy is imported until a sweep runs: Hydra loads this file at every start.
"""

import json
import math
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from minigpt.config import SWEPT, compose_config, explain, run_config, save_run
from minigpt.errors import UserError

Train = Callable[[DictConfig, Path, bool], float | None]


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
        except Exception as error:  # of which Hydra would make a warning, and an exit code of 0
            traceback.print_exception(error)
            _say(f"the report failed: {_reason(error)}; the runs are in {folder}")
            raise SystemExit(1) from None
        unfinished = [run for run in runs if run.status != "finished"]
        if unfinished:
            _say(
                f"{len(unfinished)} of {len(runs)} jobs did not finish; the same command with "
                f"hydra.sweep.dir={config.hydra.sweep.dir} tries them again"
            )
            raise SystemExit(1)


def run_job(cfg: DictConfig, folder: Path, train: Train) -> float:
    """Runs one job as far as it is not done: not if it finished, on if it was interrupted.

    Returns its best held-out loss, or NaN where it fails, which is recorded and said; the jobs
    after it go on. Raises UserError where the folder holds a job with other settings.
    """
    summary = _summary(folder)
    _check_same(cfg, folder)
    tested = summary.get("test") or not (summary.get("data") or {}).get("tokens", {}).get("test")
    if summary.get("status") == "finished" and tested:
        _say(f"job {folder.name} is finished already")
        return float((summary.get("best") or {}).get("val/loss", math.nan))
    resume = summary.get("status") != "failed" and (folder / "checkpoints/last.ckpt").exists()
    if not resume:
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    try:
        loss = train(cfg, folder, resume)
    except Exception as error:
        _record_failure(cfg, folder, error)
        return math.nan
    return math.nan if loss is None else loss


def _record_failure(cfg: DictConfig, folder: Path, error: Exception) -> None:
    reason = _reason(error)
    if not isinstance(error, UserError):
        traceback.print_exception(error)
    _say(f"job {folder.name} failed: {reason}")
    save_run(cfg, folder)
    content = {"command": "", **_summary(folder), "status": "failed", "reason": reason}
    (folder / "summary.json").write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def _check_same(cfg: DictConfig, folder: Path) -> None:
    path = folder / "config.yaml"
    if not path.exists():
        if any(folder.iterdir()):
            raise UserError(
                f"{folder} is not empty and holds no run; choose another hydra.sweep.dir"
            )
        return
    was, now = OmegaConf.to_container(OmegaConf.load(path)), run_config(cfg)
    assert isinstance(was, dict)
    if {**was, "run_dir": ""} != {**now, "run_dir": ""}:
        raise UserError(
            f"{folder} holds a job with other settings; give the sweep a new hydra.sweep.dir, or "
            "the overrides it had"
        )


def _summary(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / "summary.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def _reason(error: Exception) -> str:
    return explain(error) or type(error).__name__


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
