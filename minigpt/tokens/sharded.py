"""The ids of one split, memory-mapped, in shards that read as one sequence.

Shapes: B rows.
"""

import mmap
import resource
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minigpt.errors import UserError
from minigpt.ordinary_file import check_ordinary
from minigpt.tokens.manifest import Manifest
from minigpt.tokens.shard_cache import ShardCache

REMAKE = "delete the folder and the store is made again"

Ids = NDArray[np.unsignedinteger[Any]]


def shard_path(folder: Path, split: str, number: int) -> Path:
    """The path of a shard. A manifest names no files, so none can point outside the folder."""
    return folder / f"{split}-{number:05}.bin"


def document_list_path(folder: Path, split: str, number: int) -> Path:
    """The path of the list of a shard's documents."""
    return folder / f"{split}-{number:05}.jsonl"


class Tokens:
    """The ids of one split, in shards that read as one sequence."""

    def __init__(
        self, folder: Path, split: str, manifest: Manifest, cache: ShardCache | None = None
    ) -> None:
        """cache: copies the shards of a remote store into the folder; until then they are there."""
        self._folder = folder
        self._cache = cache
        self._records = manifest.shards[split]
        self._split = split
        self._dtype = np.dtype(manifest.dtype)
        self._largest_id = manifest.largest_id
        self._ends = list(accumulate(shard["tokens"] for shard in manifest.shards[split]))
        _allow_open_files(len(self._ends))
        # The shards that were read so far: the file in memory, and its ids.
        self._open: dict[int, tuple[mmap.mmap, Ids]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Without the mapped shards, which pickle would copy whole; the copy maps them again."""
        return {**self.__dict__, "_open": {}}

    def _shard(self, number: int) -> Ids | None:
        """A shard, memory-mapped; None while a remote one is not copied yet."""
        if number not in self._open:
            path = shard_path(self._folder, self._split, number)
            if self._cache is not None:
                record = self._records[number]
                size = record["tokens"] * self._dtype.itemsize
                if self._cache.ask_for(path.name, record["sha256"], size) is None:
                    return None
            try:
                check_ordinary(path)
                with path.open("rb") as file:
                    content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except OSError as error:
                raise UserError(f"{path} cannot be read ({error.strerror})") from None
            if hasattr(mmap, "MADV_RANDOM"):
                # Blocks lie far apart: reading ahead would be a hundred times the work.
                content.madvise(mmap.MADV_RANDOM)
            self._open[number] = content, np.frombuffer(content, self._dtype)
        content, ids = self._open[number]
        if content.size() < len(content):  # to read what is gone would be SIGBUS
            path = shard_path(self._folder, self._split, number)
            raise UserError(f"{path} was cut short while it was read; {REMAKE}")
        return ids

    def _remote(self, parts: list[tuple[int, int, int]]) -> list[Ids]:
        """(shard, first, end) of some parts of it -> their ids, read from where the store is."""
        assert self._cache is not None
        size = self._dtype.itemsize
        contents = self._cache.remote.read_ranges(
            [shard_path(self._folder, self._split, number).name for number, _, _ in parts],
            [(first * size, end * size) for _, first, end in parts],
        )
        return [np.frombuffer(content, self._dtype) for content in contents]

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, part: slice) -> Ids:
        """(n) consecutive ids.

        Raises UserError for an id above the store's largest: the file is damaged.
        """
        start, stop, step = part.indices(len(self))
        assert step == 1
        parts = []
        while start < stop:
            number = bisect_right(self._ends, start)  # some shards are empty
            end = min(stop, self._ends[number])
            first = self._ends[number - 1] if number else 0
            shard = self._shard(number)
            if shard is None:
                parts += self._remote([(number, start - first, end - first)])
            else:
                parts.append(shard[start - first : end - first])
            start = end
        ids = parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, self._dtype), *parts])
        self._check(ids)
        return ids

    def rows(self, starts: NDArray[np.int64], length: int) -> Ids:
        """(B) positions -> (B, length) ids that begin at each."""
        out = np.empty((len(starts), length), self._dtype)
        missing: dict[int, tuple[int, int, int]] = {}  # row -> its part of a remote shard
        for i, start in enumerate(starts.tolist()):
            number = bisect_right(self._ends, start)
            first = self._ends[number - 1] if number else 0
            if start + length > self._ends[number]:
                out[i] = self[start : start + length]
            elif (shard := self._shard(number)) is not None:
                out[i] = shard[start - first : start - first + length]
            else:
                missing[i] = number, start - first, start - first + length
        if missing:
            out[list(missing)] = self._remote(list(missing.values()))
        self._check(out)
        return out

    def _check(self, ids: Ids) -> None:
        if ids.size and (largest := int(ids.max())) > self._largest_id:
            raise UserError(
                f"{self._folder}: a shard has the id {largest}, its manifest's largest is "
                f"{self._largest_id}: the file is damaged (minigpt inspect {self._folder} --verify "
                f"says which); {REMAKE}"
            )


def _allow_open_files(count: int) -> None:
    """Raise this process's limit of open files where so many shards, a file each, come near it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if count > soft // 2 and soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
