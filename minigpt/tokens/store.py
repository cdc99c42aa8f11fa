"""The token store: a folder of memory-mapped shards of token ids, and its manifest.

Shapes: B rows.
"""

import hashlib
import json
import mmap
from bisect import bisect_right
from dataclasses import asdict, dataclass, fields
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minigpt.errors import UserError, check_types
from minigpt.tokens.split import SPLITS
from minigpt.tokens.tokenizer import id_dtype

VERSION = 2
MANIFEST = "manifest.json"

REMAKE = "delete the folder and the store is made again"

Ids = NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True)
class Manifest:
    """What a store holds and where it came from."""

    version: int
    dtype: str
    tokens: dict[str, int]  # by split
    documents: dict[str, int]  # by split
    shards: dict[str, list[dict[str, Any]]]  # by split: tokens and sha256 of each, in order
    domains: dict[str, dict[str, int]]  # documents and tokens of each part of the corpus
    duplicates: int  # documents left out because an equal one was there
    empty: int  # documents left out because they have no text
    longest: dict[str, Any]  # name and tokens of the longest document
    largest_id: int
    held_out: list[float]  # texts whose hash lies below these are test, then validation
    tokenizer: dict[str, Any]  # what `tokenizer.from_spec` takes
    text: str  # fingerprint of the sources: their files' sha256, their datasets' revisions
    fingerprint: str  # of the text, the tokenizer and the settings together

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"


def shard_path(folder: Path, split: str, number: int) -> Path:
    """Where a shard lies; a manifest never names a file, so that none can lead elsewhere."""
    return folder / f"{split}-{number:05}.bin"


class TokenStore:
    """A finished store, opened for reading.

    Raises UserError where the manifest is missing, broken, of another version or at odds with
    itself, or a shard's size is not what the manifest says.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / MANIFEST
        try:
            content = json.loads(path.read_text("utf-8"))
            version = int(content["version"])
        except (OSError, TypeError, ValueError, KeyError) as error:
            raise UserError(
                f"{path} is missing or broken ({type(error).__name__}); {REMAKE}"
            ) from None
        if version != VERSION:
            age = "newer" if version > VERSION else "older"
            way_out = f"use a newer minigpt, or {REMAKE}" if age == "newer" else REMAKE
            raise UserError(
                f"{folder}: token store version {version}, {age} than the {VERSION} that this "
                f"minigpt reads; {way_out}"
            )
        try:
            self.manifest = _checked(content)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path} is broken ({error}); {REMAKE}") from None
        dtype = np.dtype(self.manifest.dtype)
        for split in SPLITS:
            for number, shard in enumerate(self.manifest.shards[split]):
                _check_size(shard_path(folder, split, number), shard["tokens"] * dtype.itemsize)

    def tokens(self, split: str) -> "Tokens":
        """A split's ids, memory-mapped; empty where the split has none."""
        return Tokens(self.folder, split, self.manifest)

    def verify(self) -> list[Path]:
        """The shards whose content is not what was written, by their sha256."""
        damaged = []
        for split in SPLITS:
            for number, shard in enumerate(self.manifest.shards[split]):
                path = shard_path(self.folder, split, number)
                with path.open("rb") as file:
                    if hashlib.file_digest(file, "sha256").hexdigest() != shard["sha256"]:
                        damaged.append(path)
        return damaged


def _checked(content: dict[str, Any]) -> Manifest:
    """A manifest whose parts agree; whatever they raise where they do not."""
    if missing := {field.name for field in fields(Manifest)} ^ content.keys():
        raise ValueError(f"it lacks or adds {', '.join(sorted(missing))}")
    manifest = Manifest(**content)
    check_types("manifest", manifest)
    for split in SPLITS:
        counts = [shard["tokens"] for shard in manifest.shards[split]]
        if any(not isinstance(count, int) or count < 0 for count in counts):
            raise ValueError(f"{split} has a shard of no size")
        for shard in manifest.shards[split]:
            _need(shard, "sha256")
        if sum(counts) != manifest.tokens[split]:
            raise ValueError(f"the shards of {split} do not add up to its tokens")
    if manifest.shards.keys() != set(SPLITS):
        raise ValueError("it has other splits than train, val and test")
    for counts_of in (manifest.tokens, manifest.documents):
        _need(counts_of, *SPLITS)
    for domain in manifest.domains.values():
        _need(domain, "documents", "tokens")
    _need(manifest.longest, "name", "tokens")
    alphabet = ["alphabet"] if manifest.tokenizer.get("name") == "char" else []
    _need(manifest.tokenizer, "name", "n_vocab", "fingerprint", *alphabet)
    if not 0 <= manifest.largest_id < manifest.tokenizer["n_vocab"]:
        raise ValueError("its largest id is outside its tokenizer's vocabulary")
    if np.dtype(manifest.dtype) != id_dtype(manifest.tokenizer["n_vocab"] - 1):
        raise ValueError(f"its ids are no {manifest.dtype}")
    return manifest


def _need(record: dict[str, Any], *keys: str) -> None:
    if missing := [key for key in keys if key not in record]:
        raise ValueError(f"it lacks {missing[0]} where {', '.join(keys)} belong")


def _check_size(path: Path, expected: int) -> None:
    try:
        found = path.stat().st_size
    except OSError:
        raise UserError(f"{path} is missing; {REMAKE}") from None
    if found != expected:
        raise UserError(f"{path} has {found} bytes, its manifest says {expected}; {REMAKE}")


class Tokens:
    """The ids of one split, in shards that read as one sequence."""

    def __init__(self, folder: Path, split: str, manifest: Manifest) -> None:
        self._folder = folder
        self._split = split
        self._dtype = np.dtype(manifest.dtype)
        self._largest_id = manifest.largest_id
        self._ends = list(accumulate(shard["tokens"] for shard in manifest.shards[split]))
        self._open: dict[int, Ids] = {}  # shards that were needed so far

    def _shard(self, number: int) -> Ids:
        if number not in self._open:
            with shard_path(self._folder, self._split, number).open("rb") as file:
                content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            if hasattr(mmap, "MADV_RANDOM"):
                # Reading ahead is a hundred times the work where blocks lie far apart.
                content.madvise(mmap.MADV_RANDOM)
            self._open[number] = np.frombuffer(content, self._dtype)
        return self._open[number]

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, part: slice) -> Ids:
        """(n) ids of consecutive places.

        Raises UserError where one is larger than the store has: the file was changed.
        """
        start, stop, step = part.indices(len(self))
        assert step == 1
        parts = []
        while start < stop:
            number = bisect_right(self._ends, start)  # not the next: shards can be empty
            end = min(stop, self._ends[number])
            first = self._ends[number - 1] if number else 0
            parts.append(self._shard(number)[start - first : end - first])
            start = end
        found = parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, self._dtype), *parts])
        self._check(found)
        return found

    def rows(self, starts: NDArray[np.int64], length: int) -> Ids:
        """(B) places -> (B, length) ids from each on."""
        out = np.empty((len(starts), length), self._dtype)
        for row, start in zip(out, starts.tolist(), strict=True):
            number = bisect_right(self._ends, start)
            first = self._ends[number - 1] if number else 0
            if start + length <= self._ends[number]:
                row[:] = self._shard(number)[start - first : start - first + length]
            else:
                row[:] = self[start : start + length]
        self._check(out)
        return out

    def _check(self, ids: Ids) -> None:
        if ids.size and (largest := int(ids.max())) > self._largest_id:
            raise UserError(
                f"{self._folder}: a shard has the id {largest}, its manifest's largest is "
                f"{self._largest_id}: the file is damaged (minigpt inspect {self._folder} --verify "
                f"says which); {REMAKE}"
            )
