"""What runs the workers of a divided preparation: this machine, datatrove, SLURM or Ray.

Each engine is a context that starts the missing ranges, and gives a function that waits for one of
them. Whether a worker did its work is told by its files alone.
"""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minigpt.errors import UserError, check_choice
from minigpt.text.opening import BytesRead, import_optional
from minigpt.tokens.pipeline import Piece
from minigpt.tokens.range_worker import work_on_range
from minigpt.tokens.ranges import Job, RangeFiles, count_documents, read_range

GO_ON = "run the same command again to go on from the finished ranges"


@dataclass(frozen=True)
class EngineConfig:
    """Which engine prepares a corpus, and with how many workers at a time."""

    engine: str
    workers: int = os.cpu_count() or 1
    partition: str = ""  # of SLURM
    time: str = "24:00:00"  # that SLURM gives each worker

    def __post_init__(self) -> None:
        check_choice("engine", self.engine, ENGINES)
        if self.workers < 1:
            raise UserError(f"workers must be at least 1, got {self.workers}")
        if self.engine == "datatrove_slurm" and not self.partition:
            raise UserError("engine=datatrove_slurm needs the partition of its jobs: partition=...")


class QueuedError(Exception):
    """The ranges are in a cluster's queue, so there is nothing to wait for here."""


Wait = Callable[[int], object]


@contextmanager
def local(config: EngineConfig, folder: Path, missing: list[int]) -> Iterator[Wait]:
    """Processes of this machine, each with a thread here that hands it one range after another.

    Not ProcessPoolExecutor, which can hang where a process is killed while it starts.
    """
    started: list[subprocess.Popen[str]] = []
    mine = threading.local()

    def work(number: int) -> None:
        process: subprocess.Popen[str] | None = getattr(mine, "process", None)
        if process is None:
            process = mine.process = _start_worker(folder)
            started.append(process)
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.write(f"{number}\n")
            process.stdin.flush()
        if not process.stdout.readline():  # it died, and the missing range tells
            mine.process = None

    pool = ThreadPoolExecutor(config.workers)
    jobs = {number: pool.submit(work, number) for number in missing}
    try:
        yield lambda number: jobs[number].result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in started:
            process.kill()
        pool.shutdown()
        for process in started:
            process.communicate()


def _start_worker(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        # -P: a module in the current folder must not take the place of one that this needs.
        [sys.executable, "-P", "-m", "minigpt.tokens.range_worker", str(folder), os.getcwd()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # The same modules, from wherever this process has them.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        process_group=0,  # Ctrl-C reaches this process, which ends the workers
    )


@contextmanager
def ray(config: EngineConfig, folder: Path, missing: list[int]) -> Iterator[Wait]:
    """The Ray cluster that this machine belongs to, or one of its own cores."""
    ray = import_optional("ray", "engine=ray", extra="ray")
    started = not ray.is_initialized()
    if started:
        ray.init(
            num_cpus=config.workers,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
        )
    work = ray.remote(num_cpus=1, max_retries=3)(work_on_range)
    jobs = {n: work.remote(str(folder), n, os.getcwd()) for n in missing}
    try:
        yield lambda number: ray.wait([jobs[number]])
    finally:
        for job in jobs.values():
            ray.cancel(job, force=True)
        if started:
            ray.shutdown()


@contextmanager
def datatrove_local(config: EngineConfig, folder: Path, missing: list[int]) -> Iterator[Wait]:
    """datatrove's processes on this machine; all ranges end before the first is read."""
    executors = import_optional("datatrove.executor", "engine=datatrove_local", extra="prepare")
    executor = executors.LocalPipelineExecutor(
        [RangeStep(str(folder), missing, os.getcwd())],
        tasks=len(missing),
        workers=min(config.workers, len(missing)),
        logging_dir=str(folder / "datatrove"),
        skip_completed=False,
    )
    failed: Exception | None = None
    try:
        executor.run()
    except Exception as error:  # of a worker: its file says more
        failed = error
    yield lambda number: failed


@contextmanager
def datatrove_slurm(config: EngineConfig, folder: Path, missing: list[int]) -> Iterator[Wait]:
    """datatrove's jobs in SLURM's queue. Raises QueuedError, which says how to go on."""
    executors = import_optional("datatrove.executor", "engine=datatrove_slurm", extra="prepare")
    note = folder / "slurm_job"
    if note.exists() and _is_queued(number := note.read_text("utf-8")):
        raise QueuedError(f"SLURM job {number} still has {len(missing):,} ranges; {AGAIN}")
    _raise_error(folder, missing)
    if shutil.which("sbatch") is None:
        raise UserError("engine=datatrove_slurm: there is no sbatch here; start it on a login node")
    executor = executors.SlurmPipelineExecutor(
        [RangeStep(str(folder), missing, os.getcwd())],
        tasks=len(missing),
        workers=config.workers,
        time=config.time,
        partition=config.partition,
        qos="",
        job_name="minigpt-prepare",
        logging_dir=str(folder / "datatrove"),
        skip_completed=False,
    )
    executor.run()
    note.write_text(str(executor.job_id), "utf-8")
    raise QueuedError(f"SLURM job {executor.job_id} has {len(missing):,} ranges to make; {AGAIN}")
    yield  # a context that never begins


AGAIN = "when it has ended, run the same command again to make the store from them"


def _is_queued(job: str) -> bool:
    listed = subprocess.run(
        ["squeue", "--noheader", f"--jobs={job}"], capture_output=True, text=True, check=False
    )
    return listed.returncode == 0 and bool(listed.stdout.strip())


class RangeStep:
    """A step of a datatrove pipeline whose tasks are the missing ranges."""

    def __init__(self, folder: str, missing: list[int], current_folder: str) -> None:
        self.folder = folder
        self.missing = missing
        self.current_folder = current_folder

    def __call__(self, data: Any, rank: int, world_size: int) -> None:
        work_on_range(self.folder, self.missing[rank], self.current_folder)


Engine = Callable[[EngineConfig, Path, list[int]], AbstractContextManager[Wait]]

ENGINES: dict[str, Engine] = {
    engine.__name__: engine for engine in (local, datatrove_local, datatrove_slurm, ray)
}


def tokenized_by_workers(
    config: EngineConfig, job: Job, folder: Path, dtype: Any, skip: int, read: BytesRead
) -> Generator[list[Piece]]:
    """The pieces of a corpus in order, each range as soon as a worker has finished it.

    Raises UserError where a worker failed or died, which names its range.
    """
    job.write(folder)
    numbers = range(len(job.ranges))
    missing = [number for number in numbers if not RangeFiles(folder, number).is_finished]
    if not missing:
        yield from _read(folder, numbers, dtype, skip, read, lambda number: None)
        return
    with ENGINES[config.engine](config, folder, missing) as wait:
        yield from _read(folder, numbers, dtype, skip, read, wait)


def _read(
    folder: Path, numbers: range, dtype: Any, skip: int, read: BytesRead, wait: Wait
) -> Iterator[list[Piece]]:
    for number in numbers:
        if not RangeFiles(folder, number).is_finished:
            wait(number)
            if not RangeFiles(folder, number).is_finished:
                _raise_error(folder, [number])
                raise UserError(
                    f"a worker died in range {number} of {len(numbers)}, perhaps out of memory; "
                    f"{GO_ON}"
                )
        yield from read_range(folder, number, dtype, skip, read)
        skip = max(0, skip - count_documents(folder, number))


def _raise_error(folder: Path, numbers: list[int]) -> None:
    """Raise what a worker left about the first of some ranges that failed."""
    for number in numbers:
        error = RangeFiles(folder, number).error
        if error.exists():
            reason = error.read_text("utf-8")
            error.unlink()
            raise UserError(f"the worker of range {number} failed: {reason}; {GO_ON}")
