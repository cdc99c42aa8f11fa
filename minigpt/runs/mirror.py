"""A copy of a run folder at a URL, from which the run can go on on another machine.

Files lie there by their sha256, and latest.json, written last, names those of the newest state. So
what it names is whole, whenever the copying was killed.
"""

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from minigpt.atomic_file import explain_disk_errors, write_file
from minigpt.errors import UserError
from minigpt.json_text import parse_json
from minigpt.runs.run_folder import RunFolder
from minigpt.tokens.object_store import RemoteFolder

LATEST = "latest.json"
STATE = ".mirrored"  # the sha256 of latest.json as this machine wrote or read it
LEFT_OUT = (".lock", ".partial", STATE)


class RunMirror:
    """The copy of one run below a URL, in a folder with the last two parts of the run's path."""

    def __init__(self, run: RunFolder, base: str) -> None:
        self.run = run
        path = run.path.resolve()
        self.remote = RemoteFolder(f"{base.rstrip('/')}/{path.parent.name}/{path.name}")
        self._known: dict[Path, tuple[list[int], dict[str, Any]]] = {}  # stamp and record of a file
        self._there: set[str] | None = None  # sha256 of what lies there; None: not known yet

    def update(self) -> bool:
        """Copy what is new. A failure is said and training goes on: the next call tries again."""
        try:
            self.copy()
        except UserError as problem:
            print(f"the run's copy is not up to date: {problem}", file=sys.stderr)
            return False
        return True

    def copy(self) -> None:
        """Copy what is new. Raises UserError where that fails."""
        if self._there is None:
            has_one = self.remote.has(LATEST)
            self._there = _objects(self.remote.read(LATEST)) if has_one else set()
        files = {}
        for path in sorted(self.run.path.rglob("*")):
            if path.is_file() and not path.name.endswith(LEFT_OUT):
                name = path.relative_to(self.run.path).as_posix()
                files[name] = self._copied(path)
        content = json.dumps({"files": files}).encode()
        self.remote.write(LATEST, content)
        write_file(self.run.path / STATE, hashlib.sha256(content).hexdigest())
        now = _objects(content)
        for old in self._there - now:
            self.remote.remove(f"objects/{old}")
        self._there = now

    def _copied(self, path: Path) -> dict[str, Any]:
        """The record of a file, which is there when this returns."""
        assert self._there is not None
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            stamp = [status.st_ino, status.st_size, status.st_mtime_ns]
            known = self._known.get(path)
            if known is not None and known[0] == stamp:
                return known[1]
            # A log may grow while it is copied: what was there at first is hashed and copied.
            record = {"sha256": _sha256(file, status.st_size), "bytes": status.st_size}
            if record["sha256"] not in self._there:
                file.seek(0)
                self.remote.put(f"objects/{record['sha256']}", file, status.st_size)
                self._there.add(str(record["sha256"]))
        self._known[path] = stamp, record
        return record


def base_of(url: str) -> str:
    """The `mirror` of a run whose copy is at a URL."""
    return url.rstrip("/").rsplit("/", 2)[0]


def fetch_run(url: str, outputs: Path) -> RunFolder:
    """The run whose copy is at a URL, in a folder below `outputs`.

    Raises UserError where there is none, where it is damaged, or where the folder is there already
    and is not the copy's newest state.
    """
    remote = RemoteFolder(url)
    content = remote.read(LATEST)
    state = hashlib.sha256(content).hexdigest()
    parent, name = PurePosixPath(url).parts[-2:]
    folder = outputs / parent / name
    if folder.exists():
        mark = folder / STATE
        if mark.is_file() and mark.read_text("utf-8") == state:
            return RunFolder(folder)
        raise UserError(
            f"resume={url}: {folder} is there already and is another state of the run; go on from "
            f"it (resume={folder}), or move it away to go on from the copy"
        )
    partial = folder.with_name(f".{name}.partial")
    with explain_disk_errors(folder):
        shutil.rmtree(partial, ignore_errors=True)
        for file, record in _files(content).items():
            target = partial / file
            target.parent.mkdir(parents=True, exist_ok=True)
            remote.copy_to(f"objects/{record['sha256']}", target, record["sha256"])
        write_file(partial / STATE, state)
        partial.rename(folder)
    return RunFolder(folder)


def _files(content: bytes) -> dict[str, dict[str, Any]]:
    """The records of latest.json, by the files' paths in the run folder.

    Raises UserError where it is damaged, or names a file outside of the folder.
    """
    try:
        files = parse_json(content.decode())["files"]
        for name, record in files.items():
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or not int(record["sha256"], 16):
                raise ValueError(name)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{LATEST} of the run's copy is damaged ({error})") from None
    return dict(files)


def _objects(content: bytes) -> set[str]:
    return {record["sha256"] for record in _files(content).values()}


def _sha256(file: BinaryIO, size: int) -> str:
    digest = hashlib.sha256()
    while size and (content := file.read(min(size, 1 << 22))):
        digest.update(content)
        size -= len(content)
    return digest.hexdigest()
