"""The processes of a run find each other at a port that they alone use."""

import socket

import pytest
from torch.distributed import TCPStore

from minigpt.errors import UserError
from minigpt.training import meeting
from minigpt.training.processes import SingleCommand


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "")  # both are put back afterwards


@pytest.fixture
def free_ports(monkeypatch):
    """The ports that the machine offers one after the other."""

    def offer(*ports):
        left = list(ports)
        monkeypatch.setattr(
            meeting, "_free_port", lambda: left.pop(0) if len(left) > 1 else left[0]
        )

    return offer


def open_again(store):
    """What torch.distributed does in the first process."""
    port = store.underlying_store.port
    return TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False, multi_tenant=True)


def test_two_runs_of_a_process_may_get_the_same_port(free_ports):
    port = meeting._free_port()
    free_ports(port)
    for _ in range(3):
        store = meeting.open_store(SingleCommand(), nodes=1)
        assert store.underlying_store.port == port
        again = open_again(store)
        again.set("key", "value")
        assert store.underlying_store.get("key") == b"value"
        del store, again


def test_a_port_that_another_process_took_is_passed_over(free_ports):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        free = meeting._free_port()
        free_ports(taken.getsockname()[1], free)
        assert meeting.open_store(SingleCommand(), nodes=1).underlying_store.port == free
        free_ports(taken.getsockname()[1])
        with pytest.raises(UserError, match="this machine has no free port"):
            meeting.open_store(SingleCommand(), nodes=1)
