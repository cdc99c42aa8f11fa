"""Files that are whole on disk or not there at all."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from minigpt.errors import UserError, causes

HALF_WRITTEN = ".partial"
WAY_OUT = "free some space or choose a folder that can be written"


@contextmanager
def replace_file(path: Path, way_out: str = WAY_OUT) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path` when the block ends without an error.

    The content goes to a sibling file, which is synced and then renamed: after a crash `path` has
    either its old content or all of the new. Raises UserError where the disk refuses.
    """
    partial = path.with_name(f".{path.name}{HALF_WRITTEN}")
    with explain_disk_errors(path, way_out):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open_new(partial) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        sync_folder(path.parent)


def is_half_written(path: Path) -> bool:
    """True for a file that a kill left in the place of a whole one; no reader takes it."""
    return path.name.startswith(".") and path.name.endswith(HALF_WRITTEN)


def write_file(path: Path, content: str | bytes, way_out: str = WAY_OUT) -> None:
    """Replace a file's content in one step; text is written as UTF-8."""
    with replace_file(path, way_out) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def open_new(path: Path) -> BinaryIO:
    """Open a new file to write; what stands there is removed, and never written through a link."""
    path.unlink(missing_ok=True)
    return path.open("x+b")


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, after a file in it was renamed."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def explain_disk_errors(path: Path, way_out: str = WAY_OUT) -> Iterator[None]:
    """Turn a full or read-only disk into one line that names the file.

    A writer such as torch.save hides the disk's error behind a RuntimeError of its own, and a
    library in Rust puts its number into the message of an exception of its own.
    """
    try:
        yield
    except Exception as error:
        reason = _disk_error(error)
        if reason is None:
            raise
        raise UserError(f"cannot write {path}: {reason}; {way_out}") from None


def _disk_error(error: Exception) -> str | None:
    """The file system's first error in a chain of exceptions; None where it has none."""
    if not isinstance(error, OSError | RuntimeError):
        rust = re.search(r"\(os error (\d+)\)", str(error))
        return os.strerror(int(rust[1])) if rust else None
    for cause in causes(error):
        if isinstance(cause, OSError) and cause.errno is not None:
            return cause.strerror
    return None
