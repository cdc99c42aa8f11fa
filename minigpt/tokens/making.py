"""Lets one process make what several need; the others wait for it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from minigpt.errors import UserError


@contextmanager
def making(what: str, path: Path, last_file: Path) -> Iterator[None]:
    """Keeps other processes from making a store or a tokenizer. A kill releases the lock.

    last_file: is there once it is made.
    """
    lock = path.with_name(f".{path.name}.lock")
    held = FileLock(lock)
    try:
        held.acquire(blocking=False)
    except Timeout:
        print(f"{path}: another process is making this {what}; waiting", file=sys.stderr)
        held.acquire()
    except OSError as error:
        raise UserError(f"cannot write {lock.parent}: {error.strerror}; set data.root") from None
    try:
        yield
    finally:
        held.release()
        if last_file.exists():  # a process that waits for the lock looks there next
            lock.unlink(missing_ok=True)
