"""Token stores behind a URL of any file system that fsspec knows, such as s3://bucket/NAME.

A file is copied into a local folder when it is first needed. Until a shard is there its blocks are
read in place, so training starts at once. The folder is named by the manifest, which has the sha256
of every file: a store that changes at its URL is another folder.
"""

import hashlib
import os
import queue
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from minigpt.atomic_file import WAY_OUT, explain_disk_errors, write_file
from minigpt.errors import UserError
from minigpt.tokens.manifest import MANIFEST

# The extra with the package of a scheme that fsspec does not bring.
EXTRAS = {"s3": "s3", "s3a": "s3"}
COPY_BYTES = 1 << 22
IN_USE_SECONDS = 3600  # a file that was opened since then is not deleted to make room
PREFETCHERS = 2  # files that a process copies at a time


def is_url(text: str) -> bool:
    """True for s3://..., file://... and the like."""
    return "://" in text


@contextmanager
def explain_url_errors(url: str) -> Iterator[None]:
    """Turn what a file system raises into one line that names the URL and the way out."""
    try:
        yield
    except UserError:
        raise
    except ImportError as error:
        scheme = url.partition("://")[0]
        extra = EXTRAS.get(scheme)
        way_out = f"pip install 'minigpt[{extra}]'" if extra else str(error)
        raise UserError(f"{url}: {scheme}:// needs another package: {way_out}") from None
    except FileNotFoundError:
        raise UserError(f"{url} is not there; check the bucket and the path") from None
    except PermissionError as error:
        raise UserError(f"{url}: access is denied ({error}); check your credentials") from None
    except ValueError as error:  # fsspec: Protocol not known
        raise UserError(f"{url}: {error}; name s3://..., file://... or a folder") from None
    except Exception as error:  # of any client: boto's have no common base
        kind = type(error).__name__
        hint = "give your credentials" if "Credential" in kind else "check the network"
        raise UserError(f"{url}: {str(error).splitlines()[0]} ({kind}); {hint}") from None


class RemoteFolder:
    """The files of a folder at a URL."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._opened: tuple[int, Any, str] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the connection, which no other process can use."""
        return {**self.__dict__, "_opened": None}

    def _open(self) -> tuple[Any, str]:
        """(file system, the folder's path in it); a process opens its own after a fork."""
        if self._opened is None or self._opened[0] != os.getpid():
            import fsspec  # imported only now: few stores are remote

            with explain_url_errors(self.url):
                files, path = fsspec.core.url_to_fs(self.url, skip_instance_cache=True)
            if hasattr(files, "auto_mkdir"):  # of file://
                files.auto_mkdir = True
            self._opened = os.getpid(), files, path
        return self._opened[1:]

    def read(self, name: str) -> bytes:
        """A small file, whole."""
        files, path = self._open()
        with explain_url_errors(f"{self.url}/{name}"):
            return bytes(files.cat_file(f"{path}/{name}"))

    def has(self, name: str) -> bool:
        files, path = self._open()
        with explain_url_errors(self.url):
            return bool(files.exists(f"{path}/{name}"))

    def sizes(self) -> dict[str, int]:
        """Bytes of each file, by its name."""
        files, path = self._open()
        with explain_url_errors(self.url):
            listed = files.ls(path, detail=True)
        return {Path(file["name"]).name: file["size"] for file in listed}

    def read_ranges(self, names: Sequence[str], ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes from start to end of each of some files, asked for together."""
        files, path = self._open()
        starts, ends = (list(side) for side in zip(*ranges, strict=True))
        with explain_url_errors(self.url):
            parts = files.cat_ranges([f"{path}/{name}" for name in names], starts, ends)
        for name, part, (start, end) in zip(names, parts, ranges, strict=True):
            if len(part) != end - start:
                raise _changed(f"{self.url}/{name}")
        return parts

    def copy_to(self, name: str, target: Path, sha256: str) -> None:
        """Copy a file whole, under its name only if it has its sha256; several may try at once."""
        files, path = self._open()
        partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
        digest = hashlib.sha256()
        try:
            with (
                explain_disk_errors(target, WAY_OUT),
                explain_url_errors(f"{self.url}/{name}"),
                files.open(f"{path}/{name}", "rb", cache_type="none") as remote,
                partial.open("wb") as local,
            ):
                while content := remote.read(COPY_BYTES):
                    digest.update(content)
                    local.write(content)
                local.flush()
                os.fsync(local.fileno())
            if digest.hexdigest() != sha256:
                raise _changed(f"{self.url}/{name}")
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)

    def upload(self, folder: Path) -> None:
        """Copy a local folder there, its manifest last: before that it is no store."""
        files, path = self._open()
        names = sorted(file.name for file in folder.iterdir() if file.name != MANIFEST)
        for name in [*names, MANIFEST]:
            with explain_url_errors(f"{self.url}/{name}"):
                files.put_file(str(folder / name), f"{path}/{name}")


def _changed(url: str) -> UserError:
    return UserError(
        f"{url} is not the file that its manifest names: the store was changed or is damaged; "
        "upload it again, its manifest last"
    )


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
                raise _changed(f"{self.remote.url}/{name}")

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
        if path.exists():
            path.touch()  # the newest are kept
            return path
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
        return None

    def _copy_asked(self) -> None:
        while True:
            try:
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
            if not self._make_room(size):
                return False
            self.remote.copy_to(name, path, sha256)
        return True

    def _make_room(self, size: int) -> bool:
        """Delete what was opened longest ago, as far as needed; True if there is room then."""
        files = [
            (status.st_mtime, status.st_size, path)
            for path in self.root.glob("*/*/*.*")
            if not path.name.startswith(".") and path.name != MANIFEST
            for status in [path.stat()]
        ]
        used = sum(each for _, each, _ in files)
        for opened, each, path in sorted(files):
            if used + size <= self.max_bytes:
                break
            if time.time() - opened > IN_USE_SECONDS:
                path.unlink(missing_ok=True)  # who has it mapped keeps it
                used -= each
        return used + size <= self.max_bytes


def local_root(url: str, cache: Path) -> Path:
    """Where the stores of a remote data.root are made before they are uploaded."""
    return cache / "roots" / hashlib.sha256(url.encode()).hexdigest()[:16]
