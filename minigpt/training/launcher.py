"""Starts the other processes of a run, hands them its configuration, and ends them with it.

The first process runs the user's command and owns the run folder. The others never see the command
line: they wait for the configuration (meeting.py) and train with it.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import NoReturn

import lightning.pytorch as pl
import torch
from torch.distributed.distributed_c10d import Store

from minigpt.errors import UserError
from minigpt.signals import STOPPING, Interrupted
from minigpt.training.data_module import TokenDataModule
from minigpt.training.identity import check_alike, identity, tell
from minigpt.training.meeting import (
    FAILURE,
    JOB,
    MEET_SECONDS,
    NOTICE_SECONDS,
    READY,
    STOP,
    Job,
    open_store,
)
from minigpt.training.processes import SingleCommand, is_first_process, leave_groups

STOP_SECONDS = 10.0  # to wait for the other processes to end after the first
# To wait for the first process to notice that another ended, before it is ended by force. It may be
# saving what it has: a full disk or a busy machine takes its time.
HANG_SECONDS = 45.0

# What a run sets in the environment; a later job of a sweep must not see it.
VARIABLES = ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "NODE_RANK", "LOCAL_RANK",
             "OMP_NUM_THREADS")  # fmt: skip


class OtherProcessFailedError(Exception):
    """Another process of the run failed, or died."""


class OtherProcessUserError(OtherProcessFailedError, UserError):
    """Another process of the run found a mistake of the user."""


@contextmanager
def join_processes(
    trainer: pl.Trainer, data: TokenDataModule, job: Job, other_command: Sequence[str]
) -> Iterator[None]:
    """Bring all processes of the run together for this block, and end them after it.

    other_command starts a process that calls `receive_job`. Raises OtherProcessFailedError where
    another process fails, and UserError where one has another text, code or version. With one
    process the block just runs.
    """
    if trainer.world_size == 1:
        try:
            yield
        finally:
            leave_groups()  # trainer.strategy=fsdp2 makes one for a single process as well
        return
    environment = trainer.strategy.cluster_environment
    saved = {name: os.environ.get(name) for name in VARIABLES}
    threads, excepthook = torch.get_num_threads(), sys.excepthook
    children: list[subprocess.Popen[bytes]] = []
    try:
        store = open_store(environment, trainer.num_nodes)
        if isinstance(environment, SingleCommand):
            for local_rank in range(1, trainer.world_size // trainer.num_nodes):
                children.append(_start(other_command, local_rank))
        if is_first_process(environment):
            store.set(JOB, json.dumps(asdict(job)))
            _wait_for_others(store, trainer.world_size - 1, children)
            with _lead(store, children):
                check_alike(store, trainer.world_size, identity(data))
                yield
        else:
            tell(store, environment.global_rank(), identity(data))
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
    """Run the first process's block; if another process fails, its error is raised here."""
    ended = threading.Event()
    threading.Thread(target=_watch, args=(store, children, ended), daemon=True).start()
    try:
        yield
    except UserError:
        raise  # this process knows what is wrong
    except Exception:
        # An all-reduce fails where another process is gone; that one's error is the one to show.
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
    for rank, child in enumerate(children, start=1):
        killed_by = -(child.poll() or 0)
        if killed_by > 0 and killed_by not in STOPPING:
            raise OtherProcessFailedError(f"process {rank} died with exit code {-killed_by}")
    # After that: a process that lost its connection to a dead one leaves a note too.
    if store.check([FAILURE]):
        rank, kind, message = json.loads(store.get(FAILURE))
        if kind == "UserError":
            raise OtherProcessUserError(message)
        raise OtherProcessFailedError(f"process {rank} failed: {kind}: {message}")
    for rank, child in enumerate(children, start=1):
        code = child.poll()
        for signum in STOPPING:
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
