"""Documents -> the files of a token store, in parts that survive a kill.

A part is a shard of each split and a record of what they hold. Parts end at the same documents
however often a preparation is stopped, so a continued one writes the same bytes.
"""

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minigpt.text.readers import Document
from minigpt.tokens.durable import LongDocument, Shard, explained, write_whole
from minigpt.tokens.split import SPLITS, Digest, HeldOut
from minigpt.tokens.store import MANIFEST, Ids, Manifest, shard_path
from minigpt.tokens.tokenizer import Tokenizer, id_dtype

PART_TOKENS = 1 << 24  # a part ends with the document that brings it to as many
BATCH_CHARS = 1 << 18  # text handed to a thread at a time


@dataclass
class Part:
    """What a part holds; `read` counts documents of the corpus up to its end, left out or not."""

    read: int = 0
    tokens: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    documents: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    sha256: dict[str, str] = field(default_factory=dict)
    domains: dict[str, dict[str, int]] = field(default_factory=dict)
    duplicates: int = 0
    empty: int = 0
    longest: dict[str, Any] = field(default_factory=lambda: {"name": "", "tokens": 0})
    largest_id: int = 0


@dataclass(frozen=True)
class Recipe:
    """How documents become ids."""

    tokenizer: Tokenizer
    held_out: HeldOut
    document_tokens: int | None
    end_of_text: bool
    max_tokens: int | None


Progress = Callable[[int, int], None]  # characters of text and training tokens so far


def write_parts(
    documents: Iterable[Document], recipe: Recipe, folder: Path, progress: Progress
) -> list[Part]:
    """Writes every part that a folder lacks, and returns the records of all.

    Raises UserError where the disk refuses; finished parts stay, and the next call goes on.
    """
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        parts = _finished(folder, id_dtype(recipe.tokenizer.n_vocab - 1).itemsize)
        writer = _Writer(recipe, folder, parts)
    skip = parts[-1].read if parts else 0
    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for piece in _tokenized(documents, recipe, skip, pool):
                with explained(folder):
                    if not writer.take(piece):
                        break
                progress(writer.chars, writer.train_tokens)
        with explained(folder):
            writer.end_part()
    finally:
        writer.close()
    return parts


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """The last file of a store, which makes it one; the parts' records go."""
    with explained(folder):
        write_whole(folder / MANIFEST, manifest.to_json().encode())
        for path in folder.glob("part-*.json"):
            path.unlink()


@dataclass(slots=True)
class _Piece:
    """A document, or a piece of one too long to hold, on its way through the tokenizer."""

    document: Document
    text: str
    whole: Digest | None = None  # of the document, with its last piece
    alone: bool = True  # the document has no other piece
    ids: Ids | None = None  # None where the document is in a part already


def _tokenized(
    documents: Iterable[Document], recipe: Recipe, skip: int, pool: ThreadPoolExecutor
) -> Iterator[_Piece]:
    """Pieces in the documents' order, tokenized by every core a few batches ahead.

    The first `skip` documents are in parts already; they are only hashed.
    """

    dtype = id_dtype(recipe.tokenizer.n_vocab - 1)

    def work(batch: list[_Piece], wanted: bool) -> list[_Piece]:
        for piece in batch:
            if piece.alone:
                piece.whole = Digest(piece.text)
            if wanted:
                piece.ids = recipe.tokenizer.encode_to_numpy(piece.text).astype(dtype)
        return batch

    waiting: deque[Future[list[_Piece]]] = deque()
    ahead = 2 * (os.cpu_count() or 1) + 2
    for batch, wanted in _batches(documents, skip):
        waiting.append(pool.submit(work, batch, wanted))
        if len(waiting) > ahead:
            yield from waiting.popleft().result()
    while waiting:
        yield from waiting.popleft().result()


def _batches(documents: Iterable[Document], skip: int) -> Iterator[tuple[list[_Piece], bool]]:
    """Pieces enough for a thread at a time, and whether they are still to be tokenized."""
    batch: list[_Piece] = []
    size = 0
    for number, document in enumerate(documents):
        if number == skip and batch:
            yield batch, False
            batch, size = [], 0
        for piece in _pieces(document):
            batch.append(piece)
            size += len(piece.text) + 1  # empty ones too are not gathered for ever
            if size >= BATCH_CHARS:
                yield batch, number >= skip
                batch, size = [], 0
    if batch:
        yield batch, number >= skip


def _pieces(document: Document) -> Iterator[_Piece]:
    if isinstance(document.text, str):
        yield _Piece(document, document.text)
        return
    whole = Digest()
    previous = ""
    for text in document.text:
        if previous:
            yield _Piece(document, previous, alone=False)
        whole.update(text)
        previous = text
    yield _Piece(document, previous, whole, alone=False)


class _Writer:
    """Takes pieces in order; decides what stays and where, and writes it."""

    def __init__(self, recipe: Recipe, folder: Path, parts: list[Part]) -> None:
        self.recipe = recipe
        self.folder = folder
        self.parts = parts
        self.dtype = id_dtype(recipe.tokenizer.n_vocab - 1)
        self.train_tokens = sum(part.tokens["train"] for part in parts)
        self.chars = 0
        self.read = 0
        self.seen = _SeenTexts()
        self.long: LongDocument | None = None
        self.part = Part()
        self.shards: dict[str, Shard] = {}

    def take(self, piece: _Piece) -> bool:
        """One more piece; False where the corpus has its max_tokens."""
        self.chars += len(piece.text)
        if not piece.alone and piece.ids is not None:
            self.long = self.long or LongDocument(self.folder, self.dtype)
            self.long.add(piece.ids)
        if piece.whole is None:  # more of the document is to come
            return True
        self.read += 1
        if piece.ids is None:
            if piece.whole.chars:
                self.seen.add(piece.whole.key)
        else:
            self._document(piece.document, piece.whole, piece.ids)
        if self.long is not None:
            self.long.close()
            self.long = None
        if sum(self.part.tokens.values()) >= PART_TOKENS:
            self.end_part()
        return not self._full()

    def _full(self) -> bool:
        return self.train_tokens == self.recipe.max_tokens

    def _document(self, document: Document, whole: Digest, ids: Ids) -> None:
        """A whole document: `ids` its own, or, if it is long, those of its last piece."""
        part = self.part
        if not whole.chars:
            part.empty += 1
            return
        if not self.seen.add(whole.key):
            part.duplicates += 1
            return
        split = document.split or self.recipe.held_out.split(whole.place)
        if document.split is None and split in document.not_in:
            split = "train"
        count = 0
        for piece in self._as_kept([ids] if self.long is None else self.long.ids(), split):
            self._shard(split).write(piece)
            count += len(piece)
        part.tokens[split] += count
        part.documents[split] += 1
        if split == "train":
            self.train_tokens += count
        domain = part.domains.setdefault(_printable(document.domain), {"documents": 0, "tokens": 0})
        domain["documents"] += 1
        domain["tokens"] += count
        if count > part.longest["tokens"]:
            part.longest = {"name": _printable(document.name), "tokens": count}

    def _as_kept(self, pieces: Iterable[Ids], split: str) -> Iterator[Ids]:
        """A document's ids, cut and closed as the recipe says."""
        recipe = self.recipe
        left = recipe.document_tokens
        room = None
        if recipe.max_tokens is not None and split == "train":
            room = recipe.max_tokens - self.train_tokens
        for ids in pieces:
            for limit in (left, room):
                ids = ids[:limit]
            left = None if left is None else left - len(ids)
            room = None if room is None else room - len(ids)
            yield ids
        end = recipe.tokenizer.end_of_text
        if recipe.end_of_text and end is not None and room != 0:
            yield np.array([end], self.dtype)

    def _shard(self, split: str) -> "Shard":
        if split not in self.shards:
            self.shards[split] = Shard(shard_path(self.folder, split, len(self.parts)), self.dtype)
        return self.shards[split]

    def end_part(self) -> None:
        """Makes what was written since the last part durable, its record last."""
        part, self.part = self.part, Part()
        part.read = self.read
        if part.read <= (self.parts[-1].read if self.parts else 0):
            return
        for split in SPLITS:
            shard = self._shard(split)
            part.sha256[split] = shard.finish()
            part.largest_id = max(part.largest_id, shard.largest_id)
        write_whole(_record_path(self.folder, len(self.parts)), json.dumps(asdict(part)).encode())
        self.parts.append(part)
        self.shards = {}

    def close(self) -> None:
        """Leaves nothing half-written, however it came to this."""
        if self.long is not None:
            self.long.close()
        for shard in self.shards.values():
            shard.discard()


def _printable(name: str) -> str:
    """A file's name can hold bytes that are no text."""
    return name.encode("utf-8", "backslashreplace").decode()


class _SeenTexts:
    """The texts so far, by 64 bits of their hashes, in eight bytes each."""

    def __init__(self) -> None:
        self._sorted = np.empty(0, np.uint64)
        self._new: set[int] = set()

    def add(self, key: int) -> bool:
        """Whether it was not there yet."""
        at = int(np.searchsorted(self._sorted, np.uint64(key)))
        if key in self._new or (at < len(self._sorted) and int(self._sorted[at]) == key):
            return False
        self._new.add(key)
        if len(self._new) > 4096 + len(self._sorted) // 8:
            new = np.fromiter(self._new, np.uint64, len(self._new))
            self._sorted = np.union1d(self._sorted, new)
            self._new = set()
        return True


def _record_path(folder: Path, number: int) -> Path:
    return folder / f"part-{number:05}.json"


def _finished(folder: Path, itemsize: int) -> list[Part]:
    """The records of the parts that an earlier start finished; what else it left is removed."""
    parts: list[Part] = []
    keep = set()
    while (path := _record_path(folder, len(parts))).exists():
        try:
            part = Part(**json.loads(path.read_text()))
            sizes = [part.tokens[split] * itemsize for split in SPLITS]
        except (KeyError, TypeError, ValueError):
            break  # not ours any more; it and what follows are made again
        shards = [shard_path(folder, split, len(parts)) for split in SPLITS]
        if [shard.stat().st_size if shard.exists() else None for shard in shards] != sizes:
            break
        keep |= {path, *shards}
        parts.append(part)
    for path in folder.iterdir():
        if path not in keep:
            path.unlink()
    return parts
