"""Folders that are whole on disk or not there at all."""

import ctypes
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from minigpt.atomic_file import explain_disk_errors, sync_folder
from minigpt.errors import UserError


def check_replaceable(path: Path, known: Collection[str], force: bool) -> None:
    """Raises UserError unless a folder may be written at `path`.

    With force that is also a folder that holds nothing but `known` files, so that a mistyped path
    costs nothing else.
    """
    if not path.exists() and not path.is_symlink():
        return
    if not path.is_dir() or path.is_symlink():
        raise UserError(f"{path} is not a folder; choose another name")
    names = {entry.name for entry in path.iterdir()}
    if foreign := sorted(names - set(known)):
        raise UserError(
            f"{path} holds {foreign[0]}, which is not part of an export; choose another folder"
        )
    if names and not force:
        raise UserError(f"{path} exists already; choose another folder, or replace it with --force")


@contextmanager
def replace_folder(path: Path) -> Iterator[Path]:
    """A new folder that takes the place of `path` when the block ends without an error.

    Its files are synced first. An older folder is exchanged for it in one move where the system can
    (Linux), else renamed before it and removed after it.
    Raises UserError where the disk refuses, or another process is writing the same folder.
    """
    path = path.absolute()
    partial, older = (path.with_name(f".{path.name}.{word}") for word in ("partial", "older"))
    with explain_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _only_writer(path):
            if older.exists() and not path.exists():  # a crash came between the two renames
                os.replace(older, path)
            try:
                for left in (partial, older):
                    shutil.rmtree(left, ignore_errors=True)
                partial.mkdir()
                yield partial
                _sync(partial)
                if not (path.exists() and _exchange(partial, path)):
                    if path.exists():
                        os.replace(path, older)
                    os.replace(partial, path)
                sync_folder(path.parent)
            finally:
                if older.exists() and not path.exists():
                    os.replace(older, path)
                for left in (partial, older):
                    shutil.rmtree(left, ignore_errors=True)


@contextmanager
def _only_writer(path: Path) -> Iterator[None]:
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise UserError(f"{path} is being written by another process; wait for it") from None
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders' names in one step; False where the system or file system cannot."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None) if os.name == "posix" else None
    if rename is None:
        return False
    here, exchange = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of linux/fcntl.h and linux/fs.h
    return bool(rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0)


def _sync(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_dir():
            sync_folder(path)
            continue
        with path.open("rb") as file:
            os.fsync(file.fileno())
    sync_folder(folder)
