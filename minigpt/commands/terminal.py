"""Standard output and error that never stop a run: a closed pipe, a full disk, no terminal."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast


@contextmanager
def tolerant_output(is_log: bool = False) -> Iterator[None]:
    """Within the block, output goes quiet where it cannot be written any more.

    Its reader has left, as in `... | head -1`, the terminal is closed, or its disk is full. A full
    disk ends the command with code 2 once it is done, unless what it prints is a mere log.

    Characters that the terminal's encoding lacks are replaced.
    """
    streams = sys.stdout, sys.stderr
    for stream in streams:
        # Standard error escapes such characters already.
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="replace")
    sys.stdout, sys.stderr = (cast(TextIO, _Tolerant(stream)) for stream in streams)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()  # here, since Python's own flush at exit reports a closed pipe
        lost, (sys.stdout, sys.stderr) = cast(_Tolerant, sys.stdout).lost, streams
    if lost and not is_log:
        print(f"error: standard output: {lost}; what was printed is not whole", file=sys.stderr)
        raise SystemExit(2)


class _Tolerant:
    """A text stream that drops what cannot be written any more."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost = ""  # why; empty while nothing is, and where nobody reads

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            self._discard(error)
            return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._discard(error)

    def _discard(self, error: OSError) -> None:
        """Send the rest of the output nowhere, what C code and child processes write included."""
        if not isinstance(error, BrokenPipeError):
            self.lost = error.strerror or type(error).__name__
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
