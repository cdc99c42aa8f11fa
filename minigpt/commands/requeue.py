"""A SLURM job is put back into the queue before its time limit, and goes on in the same folder.

A requeued job keeps its id and runs the same command again. So each new run or sweep notes both in
its folder, and the command that SLURM starts again looks for them.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minigpt.atomic_file import write_file
from minigpt.command_lines import RUN_FOLDER, SWEEP_FOLDER, hydra_value
from minigpt.errors import UserError
from minigpt.json_text import parse_json
from minigpt.runs.run_folder import SLURM_JOB, RunFolder
from minigpt.signals import Interrupted

SIGNAL = signal.SIGUSR1  # that sbatch --signal=USR1@... sends
NOT_REQUEUED = 75  # the exit code where SLURM refused: EX_TEMPFAIL of sysexits.h, "try again"
SECONDS = 60.0  # for scontrol to answer


@contextmanager
def requeue_if_asked() -> Iterator[None]:
    """After SIGUSR1 in a SLURM job, ask SLURM to start the job again, and exit as ever.

    Exits with code 75 where it cannot; what was saved stays.
    """
    try:
        yield
    except Interrupted as stop:
        job = os.environ.get("SLURM_JOB_ID")
        if stop.signum != SIGNAL or not job:
            raise
        reason = _requeue(job)
        if reason is not None:
            print(f"stopped, but job {job} is not requeued: {reason}{stop.hint}", file=sys.stderr)
            raise SystemExit(NOT_REQUEUED) from None
        stop.hint = f"; job {job} is requeued"
        raise


def _requeue(job: str) -> str | None:
    """Ask SLURM to start a job again; returns why it does not, or None."""
    command = ["scontrol", "requeue", job]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    except OSError as error:
        return f"scontrol cannot be run ({error.strerror})"
    except subprocess.TimeoutExpired:
        return f"scontrol did not answer within {SECONDS:.0f} s"
    if done.returncode == 0:
        return None
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return lines[0] if lines else f"scontrol failed with exit code {done.returncode}"


def is_requeued() -> bool:
    """True in a SLURM job that runs again, after requeueing, preemption or a lost node."""
    return os.environ.get("SLURM_RESTART_COUNT", "0") not in ("", "0")


def words_of_this_job(words: list[str]) -> list[str]:
    """The command line, which in a requeued job also names the folder of its run or sweep.

    Where one job runs the same command several times, that is the run which began last.
    """
    if not is_requeued() or len(_without_folder(words)) < len(words):
        return words
    folders = [RunFolder(path.parent) for path in Path("outputs").glob(f"*/*/{SLURM_JOB}")]
    folders = [folder for folder in folders if is_of_this_job(folder)]
    if not folders:
        return words
    newest = max(folders, key=lambda folder: folder.slurm_job.stat().st_mtime_ns)
    value = hydra_value(str(newest.path))
    # Beside the other overrides: argparse takes only one group of them.
    places = [i for i, word in enumerate(words, 1) if "=" in word and not word.startswith("-")]
    at = places[0] if places else len(words)
    return [*words[:at], f"{RUN_FOLDER}={value}", f"{SWEEP_FOLDER}={value}", *words[at:]]


def _without_folder(words: list[str]) -> list[str]:
    keys = (f"{RUN_FOLDER}=", f"{SWEEP_FOLDER}=")
    return [word for word in words if not word.startswith(keys)]


def is_of_this_job(run: RunFolder) -> bool:
    """True if this SLURM job began what is in a folder, by the same command, before a requeue."""
    try:
        note = parse_json(run.slurm_job.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return is_requeued() and note == _note()


def is_complete(run: RunFolder) -> bool:
    """True if the run in a folder needs nothing more."""
    # Imported only now: --help and a mistyped key must not wait for pydantic.
    from minigpt.runs.summary import Status

    try:
        return run.read_summary().status is Status.FINISHED
    except UserError:
        return False  # killed before its first step


@contextmanager
def noted_job(run: RunFolder) -> Iterator[None]:
    """Note in a folder which SLURM job begins a run in it; where no run begins, nothing stays."""
    note_job(run)
    try:
        yield
    finally:
        if not run.has_run:
            run.slurm_job.unlink(missing_ok=True)


def note_job(folder: RunFolder) -> None:
    """Note in a folder which SLURM job begins a run or sweep in it; does nothing elsewhere."""
    if os.environ.get("SLURM_JOB_ID"):
        write_file(folder.slurm_job, json.dumps(_note()) + "\n")


def _note() -> dict[str, object]:
    return {"job": os.environ.get("SLURM_JOB_ID", ""), "words": _without_folder(sys.argv[1:])}
