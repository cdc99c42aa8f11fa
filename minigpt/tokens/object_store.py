"""A folder at a URL of any file system that fsspec knows, such as s3://bucket/NAME."""

import hashlib
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from minigpt.atomic_file import WAY_OUT, explain_disk_errors
from minigpt.errors import UserError
from minigpt.tokens.manifest import MANIFEST

# The extra with the package of a scheme that fsspec does not bring.
EXTRAS = {"s3": "s3", "s3a": "s3"}
COPY_BYTES = 1 << 22


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
        reason = " ".join(f"{kind} {error}".split())
        raise UserError(f"{url}: {reason}; {hint}") from None


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
                raise changed(f"{self.url}/{name}")
        return parts

    def copy_to(self, name: str, target: Path, sha256: str) -> None:
        """Copy a file whole, under its name only if it has its sha256; several may try at once."""
        files, path = self._open()
        partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
        digest = hashlib.sha256()
        with explain_url_errors(f"{self.url}/{name}"):
            remote = files.open(f"{path}/{name}", "rb", cache_type="none")

        def pieces() -> Iterator[bytes]:
            while True:
                with explain_url_errors(f"{self.url}/{name}"):
                    content = remote.read(COPY_BYTES)
                if not content:
                    return
                yield content

        try:
            with remote, explain_disk_errors(target, WAY_OUT):
                with partial.open("wb") as local:
                    for content in pieces():
                        digest.update(content)
                        local.write(content)
                    local.flush()
                    os.fsync(local.fileno())
                if digest.hexdigest() != sha256:
                    raise changed(f"{self.url}/{name}")
                os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)

    def put(self, name: str, file: BinaryIO, size: int) -> None:
        """Copy the next `size` bytes of an open file there."""
        files, path = self._open()
        with explain_url_errors(f"{self.url}/{name}"), files.open(f"{path}/{name}", "wb") as remote:
            while size and (content := file.read(min(size, COPY_BYTES))):
                remote.write(content)
                size -= len(content)

    def write(self, name: str, content: bytes) -> None:
        files, path = self._open()
        with explain_url_errors(f"{self.url}/{name}"):
            files.pipe_file(f"{path}/{name}", content)

    def remove(self, name: str) -> None:
        files, path = self._open()
        with explain_url_errors(f"{self.url}/{name}"):
            files.rm_file(f"{path}/{name}")

    def upload(self, folder: Path) -> None:
        """Copy a local folder there, its manifest last: before that it is no store."""
        files, path = self._open()
        names = sorted(file.name for file in folder.iterdir() if file.name != MANIFEST)
        for name in [*names, MANIFEST]:
            with explain_url_errors(f"{self.url}/{name}"):
                files.put_file(str(folder / name), f"{path}/{name}")


def changed(url: str) -> UserError:
    return UserError(
        f"{url} is not the file that its manifest names: the store was changed or is damaged; "
        "upload it again, its manifest last"
    )


def local_root(url: str, cache: Path) -> Path:
    """Where the stores of a remote data.root are made before they are uploaded."""
    return cache / "roots" / hashlib.sha256(url.encode()).hexdigest()[:16]
