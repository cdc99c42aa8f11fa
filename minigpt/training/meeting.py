"""How the processes of a run find each other: they share torch's key-value store.

The store works the same for processes that launcher.py, torchrun, srun or a user started. The first
process puts the job in; each of the others takes it out, and leaves a note if it fails.
"""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

from lightning.fabric.plugins.environments import ClusterEnvironment, LightningEnvironment
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.distributed.distributed_c10d import PrefixStore, Store

from minigpt.errors import UserError
from minigpt.training.processes import SingleCommand, count_launched, is_first_process

JOB, READY, FAILURE, STOP = "job", "ready", "failure", "stop"  # the keys of the store

LOOPBACK = "127.0.0.1"
PORT_ATTEMPTS = 10
MEET_SECONDS = 600.0  # to wait until all processes are ready; a cluster's disk can be slow
NOTICE_SECONDS = 3.0  # to wait for a note that another process may leave


@dataclass(frozen=True)
class Job:
    """What a process needs to take part in a run."""

    config: str  # as YAML, resolved
    run_folder: str
    overrides: list[str]
    resume: bool


def open_store(
    environment: ClusterEnvironment, nodes: int | None = None, seconds: float = MEET_SECONDS
) -> Store:
    """The store that all processes of a run share; the first process holds it."""
    first = is_first_process(environment)
    if first and isinstance(environment, SingleCommand) and nodes == 1:
        store = _serve_here(seconds)
        os.environ.update(MASTER_ADDR=LOOPBACK, MASTER_PORT=str(store.port))
        return _prefixed(store)
    if isinstance(environment, LightningEnvironment) and "MASTER_PORT" not in os.environ:
        raise UserError(
            "several processes were started by hand (NODE_RANK, LOCAL_RANK or trainer.num_nodes is "
            "set) but MASTER_PORT is not; set MASTER_ADDR and MASTER_PORT, or unset the others"
        )
    address = environment.main_address
    port = int(os.environ.get("MASTER_PORT") or environment.main_port)
    # torchrun holds the store itself.
    serves = first and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    try:
        store = _tcp_store(address, port, serves, seconds)
    except RuntimeError as error:
        line = str(error).splitlines()[0]
        raise UserError(
            f"cannot meet the other processes at {address}:{port} ({line}); check MASTER_ADDR and "
            "MASTER_PORT"
        ) from None
    os.environ["MASTER_PORT"] = str(store.port)
    return _prefixed(store)


def _serve_here(seconds: float) -> TCPStore:
    """A store at a free port of this machine.

    Not at port 0, the system's choice: once it chooses one again that a closed store of this
    process had, torch (2.13) does not find the new store when it opens the port again.
    """
    for _ in range(PORT_ATTEMPTS):
        with suppress(RuntimeError):  # another process has taken the port since
            return _tcp_store(LOOPBACK, _free_port(), True, seconds)
    raise UserError("this machine has no free port for the processes of the run to meet at")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind((LOOPBACK, 0))
        return int(free.getsockname()[1])


def _tcp_store(address: str, port: int, serves: bool, seconds: float) -> TCPStore:
    return TCPStore(
        address,
        port,
        is_master=serves,
        timeout=timedelta(seconds=seconds),
        wait_for_workers=False,
        multi_tenant=True,  # torch.distributed opens the same port again
    )


def _prefixed(store: TCPStore) -> Store:
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return PrefixStore(f"minigpt/{attempt}", store)


def receive_job(environment: ClusterEnvironment) -> Job:
    """Wait for the first process and take the run's configuration from it.

    Raises SystemExit if the first process ends without a run.
    """
    store = open_store(environment)
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
        store = open_store(environment, seconds=NOTICE_SECONDS)
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
    store = open_store(environment)
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
