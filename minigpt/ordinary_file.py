"""Files that somebody else may have put there: a pipe would hang, a device would never end."""

import errno
import os
import stat
from pathlib import Path

MOST_BYTES = 1 << 28  # of a text that is read whole; the manifest of 10^12 tokens needs a fifth


def check_ordinary(path: Path, most_bytes: int | None = None) -> None:
    """Raises OSError unless a path leads to an ordinary file, of so many bytes at most."""
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is a pipe or a device", str(path))
    if most_bytes is not None and status.st_size > most_bytes:
        raise OSError(errno.EFBIG, f"it has more than {most_bytes:,} bytes", str(path))


def read_text(path: Path, most_bytes: int = MOST_BYTES) -> str:
    """The text of an ordinary file. Raises OSError for any other, and for one with more bytes."""
    check_ordinary(path, most_bytes)
    return path.read_text("utf-8")
