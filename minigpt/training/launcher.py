"""Starts the other processes of a run, hands them its configuration, and ends them with it.

The first process runs the user's command and owns the run folder. The others never see the command
line: they wait for the configuration and train with it. They meet in torch's key-value store, which
works the same for processes started here, by torchrun, by srun or by hand.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import NoReturn

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.environments import ClusterEnvironment, LightningEnvironment
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.distributed.distributed_c10d import PrefixStore, Store

from minigpt.errors import UserError
from minigpt.signals import Interrupted
from minigpt.training.processes import (
    SingleCommand,
    count_launched,
    is_first_process,
    leave_groups,
)

MEET_SECONDS = (
    600.0  # for every process to be ready: importing and compiling take long on a cluster
)
STOP_SECONDS = 10.0  # for the other processes to end after the first
NOTICE_SECONDS = 3.0  # for a process that failed to say so
HANG_SECONDS = 15.0  # for the first to notice that another died, before it is ended by force

JOB, READY, FAILURE, STOP = "job", "ready", "failure", "stop"

# What a run sets in the environment; a later job of a sweep must not see it.
VARIABLES = ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "NODE_RANK", "LOCAL_RANK",
             "OMP_NUM_THREADS")  # fmt: skip


@dataclass(frozen=True)
class Job:
    """What a process needs to take part in a run."""

    config: str  # as YAML, resolved
    run_folder: str
    overrides: list[str]
    resume: bool


class OtherProcessFailedError(Exception):
    """Another process of the run failed, or died."""


class OtherProcessUserError(OtherProcessFailedError, UserError):
    """Another process of the run found a mistake of the user."""


@contextmanager
def join_processes(trainer: pl.Trainer, job: Job, other_command: Sequence[str]) -> Iterator[None]:
    """Train within this block: all processes of the run are there, and end with it.

    other_command starts a process that calls `receive_job`. Raises OtherProcessFailedError where
    another process fails.
    """
    if trainer.world_size == 1:
        yield
        return
    environment = trainer.strategy.cluster_environment
    saved = {name: os.environ.get(name) for name in VARIABLES}
    threads, excepthook = torch.get_num_threads(), sys.excepthook
    children: list[subprocess.Popen[bytes]] = []
    try:
        store = _open_store(environment, trainer.num_nodes)
        if isinstance(environment, SingleCommand):
            for local_rank in range(1, trainer.world_size // trainer.num_nodes):
                children.append(_start(other_command, local_rank))
        if is_first_process(environment):
            store.set(JOB, json.dumps(asdict(job)))
            _wait_for_others(store, trainer.world_size - 1, children)
            with _lead(store, children):
                yield
        else:
            store.add(READY, 1)
            yield
    finally:
        _kill(children)
        leave_groups()
        for name, value in saved.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        torch.set_num_threads(threads)
        sys.excepthook = excepthook  # torch.distributed's puts the rank before each line


def receive_job(environment: ClusterEnvironment) -> Job:
    """Wait for the first process and take the run's configuration from it.

    Raises SystemExit if the first process ends without a run.
    """
    store = _open_store(environment)
    while not store.check([JOB]):
        if store.check([STOP]):
            store.add(READY, 1)
            raise SystemExit(int(store.get(STOP)))
        time.sleep(0.05)
    return Job(**json.loads(store.get(JOB)))


@contextmanager
def report_failure(environment: ClusterEnvironment) -> Iterator[None]:
    """Tell the first process what failed in this one, and exit.

    Nothing is printed where the first process stopped before: it has said why.
    """
    try:
        yield
    except Exception as error:
        kind = "UserError" if isinstance(error, UserError) else type(error).__name__
        failure = json.dumps([rank_zero_only.rank, kind, str(error)])
        if not _is_news(environment, failure) or kind == "UserError":
            raise SystemExit(1) from None
        raise


def _is_news(environment: ClusterEnvironment, failure: str) -> bool:
    """Record a failure in the store; False if another process failed or stopped before."""
    try:
        store = _open_store(environment, seconds=NOTICE_SECONDS)
        return not store.check([STOP]) and store.compare_set(FAILURE, "", failure) == (
            failure.encode()
        )
    except (RuntimeError, UserError):
        return False  # the first process, which holds the store, has ended


@contextmanager
def release_waiting_processes(environment: ClusterEnvironment) -> Iterator[None]:
    """End the processes that a launcher started if the command ends before they have a run."""
    launched = count_launched(environment) or 1
    if launched == 1:
        yield
        return
    store = _open_store(environment)
    code = 0
    try:
        yield
    except BaseException as error:
        code = error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1
        raise
    finally:
        if not store.check([JOB]):
            store.set(STOP, str(code))
            deadline = time.monotonic() + NOTICE_SECONDS
            while store.add(READY, 0) < launched - 1 and time.monotonic() < deadline:
                time.sleep(0.05)


def _open_store(
    environment: ClusterEnvironment, nodes: int | None = None, seconds: float = MEET_SECONDS
) -> Store:
    """The store that all processes of a run share; the first process holds it."""
    first = is_first_process(environment)
    if first and isinstance(environment, SingleCommand) and nodes == 1:
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="0")  # 0: any free port
    elif isinstance(environment, LightningEnvironment) and "MASTER_PORT" not in os.environ:
        raise UserError(
            "several processes were started by hand (NODE_RANK, LOCAL_RANK or trainer.num_nodes is "
            "set) but MASTER_PORT is not; set MASTER_ADDR and MASTER_PORT, or unset the others"
        )
    address = environment.main_address
    port = int(os.environ.get("MASTER_PORT") or environment.main_port)
    # torchrun holds the store itself.
    serves = first and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    try:
        store = TCPStore(
            address,
            port,
            is_master=serves,
            timeout=timedelta(seconds=seconds),
            wait_for_workers=False,
            multi_tenant=True,  # torch.distributed opens the same port again
        )
    except RuntimeError as error:
        line = str(error).splitlines()[0]
        raise UserError(
            f"cannot meet the other processes at {address}:{port} ({line}); check MASTER_ADDR and "
            "MASTER_PORT"
        ) from None
    os.environ["MASTER_PORT"] = str(store.port)
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return PrefixStore(f"minigpt/{attempt}", store)


def _start(command: Sequence[str], local_rank: int) -> subprocess.Popen[bytes]:
    """Start another process of this machine; it ends when its standard input is closed."""
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        # The same modules, from wherever train.py or a test has them.
        env={
            **os.environ,
            "LOCAL_RANK": str(local_rank),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        },
        # Ctrl-C in a terminal reaches the first process, which stops the others with itself.
        process_group=0,
    )


def _wait_for_others(store: Store, count: int, children: list[subprocess.Popen[bytes]]) -> None:
    """Return once `count` processes have built the run and are about to train."""
    deadline = time.monotonic() + MEET_SECONDS
    while store.add(READY, 0) < count:
        _raise_failure(store, children)
        if time.monotonic() > deadline:
            raise UserError(
                f"waited {MEET_SECONDS:.0f} s for {count} other processes of this run; start all "
                "of them, or unset the launcher's variables (SLURM_NTASKS, LOCAL_RANK, ...)"
            )
        time.sleep(0.05)


@contextmanager
def _lead(store: Store, children: list[subprocess.Popen[bytes]]) -> Iterator[None]:
    """The block of the first process: what fails elsewhere is raised here."""
    ended = threading.Event()
    threading.Thread(target=_watch, args=(store, children, ended), daemon=True).start()
    try:
        yield
    except UserError:
        raise  # all processes come to the same error
    except Exception:
        # A collective fails because another process is gone; its own error is the one to show.
        deadline = time.monotonic() + NOTICE_SECONDS
        while time.monotonic() < deadline:
            _raise_failure(store, children)
            time.sleep(0.05)
        raise
    except SystemExit:
        _wait(children)
        raise
    else:
        _wait(children)
        _raise_failure(store, children)
    finally:
        ended.set()
        store.set(STOP, "1")


def _raise_failure(store: Store, children: list[subprocess.Popen[bytes]]) -> None:
    """Raise what another process failed with, if one did."""
    if store.check([FAILURE]):
        rank, kind, message = json.loads(store.get(FAILURE))
        if kind == "UserError":
            raise OtherProcessUserError(message)
        raise OtherProcessFailedError(f"process {rank} failed: {kind}: {message}")
    for rank, child in enumerate(children, start=1):
        code = child.poll()
        for signum in (signal.SIGINT, signal.SIGTERM):
            if code in (-signum, 128 + signum):
                raise Interrupted(signum)
        if code:
            raise OtherProcessFailedError(f"process {rank} died with exit code {code}")


def _watch(store: Store, children: list[subprocess.Popen[bytes]], ended: threading.Event) -> None:
    """End the run by force where the first process hangs because another one died.

    gloo raises an error in that case; NCCL can wait for half an hour.
    """
    while not ended.wait(0.5):
        if any(child.poll() for child in children):
            if not ended.wait(HANG_SECONDS):
                _give_up(store, children)
            return


def _give_up(store: Store, children: list[subprocess.Popen[bytes]]) -> NoReturn:
    try:
        _raise_failure(store, children)
    except BaseException as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
    _kill(children)
    os._exit(1)


def _wait(children: list[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    for child in children:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(max(0.0, deadline - time.monotonic()))


def _kill(children: list[subprocess.Popen[bytes]]) -> None:
    for child in children:
        child.kill()  # does nothing to a process that has ended
        child.wait()
        assert child.stdin is not None
        child.stdin.close()
