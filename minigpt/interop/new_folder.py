"""Folders that are whole on disk or not there at all."""

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

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

    Its files are synced first. An older folder is renamed before the new one and removed after it.
    Raises UserError where the disk refuses.
    """
    path = path.absolute()
    partial, older = (path.with_name(f".{path.name}.{word}") for word in ("partial", "older"))
    with explain_disk_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if older.exists() and not path.exists():  # a crash came between the two renames
                os.replace(older, path)
            for left in (partial, older):
                shutil.rmtree(left, ignore_errors=True)
            partial.mkdir()
            yield partial
            _sync(partial)
            if path.exists():
                os.replace(path, older)
            os.replace(partial, path)
            sync_folder(path.parent)
        finally:
            if older.exists() and not path.exists():
                os.replace(older, path)
            for left in (partial, older):
                shutil.rmtree(left, ignore_errors=True)


def _sync(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_dir():
            sync_folder(path)
            continue
        with path.open("rb") as file:
            os.fsync(file.fileno())
    sync_folder(folder)
