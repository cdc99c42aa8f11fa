"""Local copies of the files of a token store at a URL, made as they are needed.

Until a shard is there its blocks are read in place, so training starts at once. The folder of the
copies is named by the manifest, which has the sha256 of every file: a store that changes at its URL
is another folder.
"""

import hashlib
import os
import queue
import re
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

from minigpt.atomic_file import WAY_OUT, explain_disk_errors, write_file
from minigpt.errors import UserError
from minigpt.tokens.manifest import MANIFEST
from minigpt.tokens.object_store import RemoteFolder, changed

IN_USE_SECONDS = 3600  # a file that was opened since then is not deleted to make room
PREFETCHERS = 2  # files that a process copies at a time
STORE = re.compile(r"[0-9a-f]{32}")  # the folders of the copies of one store
COPY = re.compile(r"(train|val|test)-\d+\.\w+")


class ShardCache:
    """Local copies of the files of a remote store, of bounded size, for any number of processes."""

    def __init__(self, remote: RemoteFolder, root: Path, max_bytes: int) -> None:
        """root: of the copies of all stores, max_bytes together."""
        self.remote = remote
        self.root = root
        self.max_bytes = max_bytes
        with explain_disk_errors(root, "choose another folder with data.cache"):
            manifest = remote.read(MANIFEST)
            name = hashlib.sha256(manifest).hexdigest()[:32]
            self.folder = root / name / (Path(remote.url).name or "store")
            if not (self.folder / MANIFEST).exists():
                write_file(self.folder / MANIFEST, manifest)
        self._start_anew()

    def _start_anew(self) -> None:
        self._process = os.getpid()
        self._asked: set[str] = set()
        self._queue: queue.SimpleQueue[tuple[str, str, int]] = queue.SimpleQueue()
        self._problem: UserError | None = None

    def __getstate__(self) -> dict[str, Any]:
        kept = {"remote", "root", "max_bytes", "folder"}
        return {key: value for key, value in self.__dict__.items() if key in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start_anew()

    def check_sizes(self, sizes: dict[str, int]) -> None:
        """Raises UserError unless the files at the URL have these sizes."""
        there = self.remote.sizes()
        for name, size in sizes.items():
            if there.get(name) != size:
                raise changed(f"{self.remote.url}/{name}")

    def fetch(self, name: str, sha256: str, size: int) -> Path:
        """The local copy of a file, made now if it is missing."""
        path = self.folder / name
        if not path.exists() and not self._copy(name, sha256, size):
            raise UserError(
                f"data.cache_bytes={self.max_bytes} leaves no room for {name}; raise it"
            )
        return path

    def ask_for(self, name: str, sha256: str, size: int) -> Path | None:
        """The local copy of a file; None while it is still to be made, in the background."""
        path = self.folder / name
        try:
            os.utime(path)  # what was opened last is kept
        except FileNotFoundError:
            self._ask_for(name, sha256, size)
            return None
        return path

    def _ask_for(self, name: str, sha256: str, size: int) -> None:
        if self._process != os.getpid():  # threads do not outlive a fork
            self._start_anew()
        if self._problem is not None:
            raise self._problem
        if name not in self._asked:
            if not self._asked:
                for _ in range(PREFETCHERS):
                    # Daemons: the end of the process waits for no copy.
                    threading.Thread(target=self._copy_asked, daemon=True).start()
            self._asked.add(name)
            self._queue.put((name, sha256, size))

    def _copy_asked(self) -> None:
        while True:
            try:
                with explain_disk_errors(self.folder, WAY_OUT):
                    self._copy(*self._queue.get())
            except UserError as problem:
                self._problem = problem
                return

    def _copy(self, name: str, sha256: str, size: int) -> bool:
        """True if the file is there now; False where there is no room for it."""
        path = self.folder / name
        # The system releases the lock of a process that died.
        with FileLock(self.folder / f".{name}.lock"):
            if path.exists():
                return True
            for partial in self.folder.glob(f".{name}.*.partial"):
                partial.unlink()  # of a process that was killed, since this one has the lock
            if not self._make_room(size):
                return False
            self.remote.copy_to(name, path, sha256)
        return True

    def _make_room(self, size: int) -> bool:
        """Delete what was opened longest ago, as far as needed; True if there is room then.

        Copies that are made at the same time do not know of each other, so the limit can be passed
        by as many files as are copied at a time.
        """
        files = []
        for path in self.root.glob("*/*/*.*"):
            # What else lies there is not a copy, and the folder may have been named by another.
            if COPY.fullmatch(path.name) and STORE.fullmatch(path.parent.parent.name):
                with suppress(FileNotFoundError):  # another process made room as well
                    status = path.stat()
                    files.append((status.st_mtime, status.st_size, path))
        used = sum(each for _, each, _ in files)
        for opened, each, path in sorted(files):
            if used + size <= self.max_bytes:
                break
            if time.time() - opened > IN_USE_SECONDS:
                path.unlink(missing_ok=True)  # who has it mapped keeps it
                used -= each
        return used + size <= self.max_bytes
