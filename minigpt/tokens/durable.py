"""Writes the files of a token store so that they are on disk whole or not at all."""

import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from minigpt.tokens.sharded import Ids

COPY_BYTES = 1 << 20

Buffer: TypeAlias = bytes | memoryview

DISK_WAY_OUT = (
    "free some space or set data.root, and the same command goes on from what is finished"
)


class DurableFile:
    """A file under a temporary name until it is whole and on disk."""

    def __init__(self, path: Path, writer: str = "") -> None:
        """writer: names one of several processes that may write the same file."""
        self.path = path
        self.partial = path.with_name(f"{path.name}{writer}.partial")
        self.partial.unlink(missing_ok=True)
        self.file = self.partial.open("xb", buffering=0)  # never through a link
        self.sha256 = hashlib.sha256()
        self.size = 0
        self.buffer = bytearray()

    def write(self, content: Buffer) -> None:
        self.buffer += content
        if len(self.buffer) >= COPY_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self.buffer:
            self.sha256.update(self.buffer)
            self.size += len(self.buffer)
            _write(self.file, self.buffer)
            self.buffer = bytearray()

    def finish(self) -> str:
        """Put the file on disk under its name; return its sha256."""
        self._flush()
        os.fsync(self.file.fileno())
        self.file.close()
        os.replace(self.partial, self.path)
        return self.sha256.hexdigest()

    def close(self) -> None:
        """Delete what is not finished."""
        self.file.close()
        self.partial.unlink(missing_ok=True)

    def discard(self) -> None:
        self.file.close()
        self.partial.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


class Shard(DurableFile):
    """A file of token ids that knows the largest of them."""

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        super().__init__(path)
        self.dtype = dtype
        self.largest_id = 0

    def _flush(self) -> None:
        if self.buffer:
            largest = int(np.frombuffer(self.buffer, self.dtype).max())
            self.largest_id = max(self.largest_id, largest)
        super()._flush()


class LongDocument:
    """The ids of a document too long to hold, on disk until its hash says which split it is in."""

    def __init__(self, folder: Path, dtype: np.dtype[Any]) -> None:
        self.path = folder / "long-document.partial"
        self.path.unlink(missing_ok=True)
        self.file = self.path.open("x+b", buffering=0)
        self.dtype = dtype

    def add(self, ids: Ids) -> None:
        _write(self.file, ids.tobytes())

    def ids(self) -> Iterator[Ids]:
        self.file.seek(0)
        while content := self.file.read(COPY_BYTES):
            yield np.frombuffer(content, self.dtype)

    def close(self) -> None:
        self.file.close()
        self.path.unlink(missing_ok=True)


def _write(file: io.FileIO, content: bytes | bytearray) -> None:
    """Writes all of the content, of which a raw file may take a part at a time.

    The files are not buffered, since a buffer would be flushed, and fail again, on closing.
    """
    view = memoryview(content)
    while view:
        view = view[file.write(view) :]
