"""Signals: a command ends between two steps, with exit code 128 + the signal.

Ctrl-C, SIGTERM, SIGHUP (the terminal is gone) and SIGUSR1 (SLURM's notice before the time limit).
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)

# These may reach a process twice for one event, from a shell and the kernel, or from srun and
# SLURM. So a second one does not end the process at once.
NOTICES = {signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}

STOPPING = {*SIGNALS, *NOTICES}  # all at which a run may end

# The signal at which a launcher (submitit) requeues its job, in an environment variable so that
# every process of the job knows it. Such a launcher takes SIGTERM as the announcement of it.
REQUEUED_AT = "MINIGPT_REQUEUED_AT_SIGNAL"


class Interrupted(SystemExit):
    """Ends the process as a shell expects after a signal: exit code 128 + its number.

    `hint` says how to continue; the command prints it.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.signum = signum
        self.hint = ""


class _State:
    """Signals belong to the process, so there is one of these."""

    def __init__(self) -> None:
        self.installed = False
        self.handlers: dict[int, signal.Handlers | None] = {}  # None: our own
        self.held = False  # True while only some places are safe to stop at
        self.received = 0  # the first signal that came; 0 before
        self.insisted = False  # True once a signal came that is not among NOTICES


_state = _State()


@contextmanager
def stop_signals() -> Iterator[None]:
    """Within the block, a signal raises Interrupted: at once, or where `hold` allows.

    A second Ctrl-C or SIGTERM ends the process at once. The handlers from before come back
    afterwards.
    """
    if _state.installed or threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return
    _state.handlers = _handlers()
    previous = {signum: signal.getsignal(signum) for signum in _state.handlers}
    _state.installed, _state.held, _state.received, _state.insisted = True, False, 0, False
    install()
    try:
        yield
    finally:
        _state.installed = _state.held = False
        for signum, handler in previous.items():
            signal.signal(signum, handler)


def _handlers() -> dict[int, signal.Handlers | None]:
    handlers: dict[int, signal.Handlers | None] = dict.fromkeys(SIGNALS)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        del handlers[signal.SIGHUP]  # nohup: the user wants the command to outlive the terminal
    if requeued_at := os.environ.get(REQUEUED_AT):
        handlers |= {signal.SIGTERM: signal.SIG_IGN, int(requeued_at): None}
    return handlers


def install() -> None:
    """Put our handlers back after a library has set its own; does nothing outside the block."""
    if _state.installed:
        for signum, handler in _state.handlers.items():
            if handler is not None:
                signal.signal(signum, handler)
            elif _state.insisted and signum not in NOTICES:
                signal.signal(signum, signal.SIG_DFL)
            else:
                signal.signal(signum, _receive)


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
    if signum not in NOTICES:
        second, _state.insisted = _state.insisted, True
        install()  # the default from now on, which ends the process even in a long call of C code
        if second:
            os.kill(os.getpid(), signum)
    if _state.received:
        return
    _state.received = signum
    if not _state.held:
        raise Interrupted(signum)
