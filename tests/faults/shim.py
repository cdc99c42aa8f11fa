"""Makes the n-th call of a kind on files below a folder fail, or end the process.

`faults.c` is preloaded where a C compiler is. Elsewhere Python's own audit events stand in for it:
they show no writes, and no calls of other libraries.
"""

import ctypes
import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

CALLS = ("write", "fsync", "rename", "open", "unlink", "mmap", "mkdir", "truncate", "read")
SHORT, KILLED, TORN = -1, -2, -3  # half is written; the process ends before the call, or after half

_SOURCE = Path(__file__).with_name("faults.c")
_EVENTS = {"os.rename": "rename", "os.remove": "unlink", "os.rmdir": "unlink",
           "os.mkdir": "mkdir", "os.truncate": "truncate", "mmap.__new__": "mmap"}  # fmt: skip


def build(folder):
    """The compiled library; None where there is no compiler for it."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None or sys.platform != "linux":
        return None
    library = folder / "faults.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", library, _SOURCE, "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return library


def shim(library):
    """What arms this process: the preloaded library, or the stand-in for it."""
    return _Preloaded(library) if library else _Audited()


class _Preloaded:
    calls = CALLS

    def __init__(self, library):
        self._library = ctypes.CDLL(library)
        self._library.fault_trace.restype = ctypes.c_char_p

    def arm(self, below, call, at, action, lasting):
        kind = CALLS.index(call) if call else -1
        self._library.fault_arm(os.fsencode(below), kind, ctypes.c_long(at), action, lasting)

    @property
    def hits(self):
        return self._library.fault_hits()

    @property
    def trace(self):
        """A line for each call below the folder: its kind, and its path in the folder."""
        return os.fsdecode(self._library.fault_trace()).splitlines()


class _Audited:
    calls = tuple(call for call in CALLS if call != "write")

    def __init__(self):
        self.trace, self.hits = [], 0
        self._armed = None
        sys.addaudithook(self._seen)
        fsync = os.fsync

        def noted_fsync(fd):
            self._decide("fsync", fd)
            fsync(fd)

        os.fsync = noted_fsync

    def arm(self, below, call, at, action, lasting):
        self.trace, self.hits = [], 0
        self._armed = (str(below), call, at, action, lasting)

    def _seen(self, event, args):
        if event == "open" and isinstance(args[2], int):
            writes = args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            self._decide("open" if writes else "read", args[0])
        elif event in _EVENTS:
            self._decide(_EVENTS[event], args[1] if event == "os.rename" else args[0])

    def _decide(self, call, path):
        if self._armed is None:
            return
        below, kind, at, action, lasting = self._armed
        if isinstance(path, int):
            path = f"/proc/self/fd/{path}"
            path = os.readlink(path) if os.path.islink(path) else ""
        path = os.path.abspath(os.fsdecode(path))
        if path != below and not path.startswith(below + os.sep):
            return
        self.trace.append(f"{call} {path[len(below) :]}")
        number = sum(line.startswith(f"{call} ") for line in self.trace)
        if call != kind or number < at or (number > at and not lasting):
            return
        self.hits += 1
        if action == KILLED:
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(action, os.strerror(action), path)


NAMES = {SHORT: "short write", KILLED: "SIGKILL", TORN: "SIGKILL after half a write"}


def name_of(action):
    """ENOSPC, or what else happens."""
    return NAMES.get(action) or errno.errorcode[action]
