"""A job of a sweep in a process of its own, which is ended after sweep.job_minutes.

A job that hangs in native code cannot be stopped from within its process.
"""

import json
import os
import signal
import subprocess
import sys
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from minigpt.commands.other_process import end_with_parent
from minigpt.errors import UserError
from minigpt.lean_imports import without_collection
from minigpt.runs.run_config import resolved
from minigpt.runs.run_folder import RunFolder
from minigpt.signals import STOPPING, Interrupted, stop_signals

# -P: a module in the current folder must not take the place of one that this needs.
COMMAND = (sys.executable, "-P", "-m", "minigpt.commands.limited_job")
SAVE_SECONDS = 30.0  # to save and end, after a signal
RECORDED = 3  # the exit code of a job whose failure is in its summary


class TimeLimitError(Exception):
    """A job was ended because it took longer than sweep.job_minutes."""


class JobDiedError(Exception):
    """The process of a job ended without a word."""


def job_minutes(config: DictConfig) -> float | None:
    """sweep.job_minutes; None for no limit. Raises UserError where it is not a time."""
    minutes = config.sweep.job_minutes
    is_number = isinstance(minutes, int | float) and not isinstance(minutes, bool)
    if minutes is not None and not (is_number and 0 < minutes < float("inf")):
        raise UserError(f"sweep.job_minutes must be above 0, or null for no limit, got {minutes}")
    return minutes


def take_job_minutes(config: DictConfig) -> float | None:
    """As job_minutes, and removes `sweep` from the configuration: no run depends on it."""
    minutes = job_minutes(config)
    with open_dict(config):
        del config.sweep
    return minutes


def run_limited(
    minutes: float, config: DictConfig, run: RunFolder, overrides: list[str], *, resume: bool
) -> int:
    """Train one job in another process: 0 if it is finished, RECORDED after a failure.

    Raises TimeLimitError if it takes too long, Interrupted after a signal to this process or to
    the job's, JobDiedError where it ended in any other way.
    """
    order = {
        "arguments": sys.argv,
        "config": resolved(config),
        "run_folder": str(run.path),
        "overrides": overrides,
        "resume": resume,
    }
    modules = os.pathsep.join(path for path in sys.path if path)
    process = subprocess.Popen(
        COMMAND,
        stdin=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": modules},
        process_group=0,  # Ctrl-C reaches this process, which stops the job
    )
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.flush()
        code = process.wait(60 * minutes)
    except subprocess.TimeoutExpired:
        _stop(process, signal.SIGINT)
        raise TimeLimitError(f"ended after sweep.job_minutes={minutes:g}") from None
    except Interrupted as stop:
        _stop(process, stop.signum)
        raise
    finally:
        process.kill()  # does nothing to a process that has ended
        process.wait()
        process.stdin.close()
    if code in (0, RECORDED):
        return code
    if code - 128 in STOPPING:
        raise Interrupted(code - 128)
    raise JobDiedError(f"its process ended with exit code {code}")


def _stop(process: "subprocess.Popen[bytes]", signum: int) -> None:
    """Let a process save and end; the caller kills it if it does neither."""
    process.send_signal(signum)
    try:
        process.wait(SAVE_SECONDS)
    except subprocess.TimeoutExpired:
        return


def main() -> None:
    """Train the job that the sweep's process describes; ends with that process."""
    order: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
    end_with_parent()
    sys.argv = order["arguments"]  # which printed and recorded commands repeat
    with without_collection():
        from minigpt.commands.one_run import train
        from minigpt.commands.sweep_job import record_failure
    run, config = RunFolder(order["run_folder"]), OmegaConf.create(order["config"])
    assert isinstance(config, DictConfig)
    config.run_dir = order["run_folder"]
    try:
        with stop_signals():
            train(config, run, order["overrides"], resume=order["resume"])
    except Interrupted as stop:
        raise SystemExit(stop.code) from None  # the sweep's process says that it stopped
    except Exception as error:
        record_failure(config, run, error)
        raise SystemExit(RECORDED) from None


if __name__ == "__main__":
    main()
