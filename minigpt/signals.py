"""Ctrl-C and SIGTERM: a command ends between two steps, with exit code 128 + the signal."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(SystemExit):
    """Ends the process as a shell expects after a signal: exit code 128 + its number.

    `hint` says how to continue; the command prints it.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.hint = ""


class _State:
    """Signals belong to the process, so there is one of these."""

    installed = False
    held = False  # True while only some places are safe to stop at
    received = 0  # the first signal that came; 0 before


_state = _State()


@contextmanager
def stop_signals() -> Iterator[None]:
    """Within the block, Ctrl-C and SIGTERM raise Interrupted: at once, or where `hold` allows.

    A second signal ends the process at once. The handlers from before come back afterwards.
    """
    if _state.installed or threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return
    previous = {signum: signal.getsignal(signum) for signum in SIGNALS}
    _state.installed, _state.held, _state.received = True, False, 0
    install()
    try:
        yield
    finally:
        _state.installed = _state.held = False
        for signum, handler in previous.items():
            signal.signal(signum, handler)


def install() -> None:
    """Put our handlers back after a library has set its own; does nothing outside the block."""
    if _state.installed:
        for signum in SIGNALS:
            signal.signal(signum, signal.SIG_DFL if _state.received else _receive)


def hold() -> None:
    """Only note a signal from now on; the caller asks `received` where it is safe to stop."""
    _state.held = True


def release() -> None:
    """Stop at any place again. Raises Interrupted where a signal came that nobody acted on."""
    if _state.held:
        _state.held = False
        if _state.received:
            raise Interrupted(_state.received)


def received() -> int:
    """The number of the signal that came; 0 before one came."""
    return _state.received


def _receive(signum: int, frame: FrameType | None) -> None:
    second = _state.received
    _state.received = signum
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)  # ends the process even in a long call of C code
    if second:
        os.kill(os.getpid(), signum)
    if not _state.held:
        raise Interrupted(signum)
