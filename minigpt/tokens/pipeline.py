"""Documents -> token ids in the documents' order, tokenized on every core."""

import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigpt.text.document import Document
from minigpt.tokens.byte_pairs import BatchEncoder
from minigpt.tokens.sharded import Ids
from minigpt.tokens.split import Digest

BATCH_CHARS = 1 << 18  # text that a thread is handed at a time
AHEAD_CHARS = BATCH_CHARS * ((os.cpu_count() or 1) + 2)


@dataclass(slots=True)
class Piece:
    """A document, or a piece of one too long to hold, on its way through the tokenizer."""

    document: Document
    text: str  # empty once it is tokenized
    chars: int
    whole: Digest | None = None  # of the document; only its last piece carries it
    alone: bool = True  # the document has no other piece
    ids: Ids | None = None  # None for a document that a finished part holds


def tokenized(
    documents: Iterable[Document],
    encode: BatchEncoder,
    dtype: np.dtype[Any],
    skip: int,
    pool: ThreadPoolExecutor,
) -> Iterator[list[Piece]]:
    """Batches of pieces in order, made a little ahead of their use.

    The first `skip` documents are in finished parts; they are hashed but not tokenized. Threads
    are enough, since the tokenizers release Python's lock while they encode.
    """

    def work(batch: list[Piece], is_new: bool) -> list[Piece]:
        for piece in batch:
            if piece.alone:
                piece.whole = Digest(piece.text)
        if is_new:
            rows = encode([piece.text for piece in batch])
            for piece, ids in zip(batch, rows, strict=True):
                piece.ids = ids.astype(dtype)
        for piece in batch:
            piece.text = ""
        return batch

    waiting: deque[tuple[Future[list[Piece]], int]] = deque()
    ahead = 0  # characters
    for batch, is_new in _batches(documents, skip):
        size = sum(piece.chars + 1 for piece in batch)
        waiting.append((pool.submit(work, batch, is_new), size))
        ahead += size
        while ahead > AHEAD_CHARS:
            future, size = waiting.popleft()
            ahead -= size
            yield future.result()
    for future, _ in waiting:
        yield future.result()


def tokenized_here(
    documents: Iterable[Document], encode: BatchEncoder, dtype: np.dtype[Any], skip: int
) -> Generator[list[Piece]]:
    """Batches of pieces, tokenized on every core of this process."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from tokenized(documents, encode, dtype, skip, pool)


def _batches(documents: Iterable[Document], skip: int) -> Iterator[tuple[list[Piece], bool]]:
    """Pieces enough for a thread at a time, and True if they have to be tokenized."""
    batch: list[Piece] = []
    size = 0
    for number, document in enumerate(documents):
        if number == skip and batch:
            yield batch, False
            batch, size = [], 0
        for piece in _pieces(document):
            batch.append(piece)
            size += piece.chars + 1  # so that empty documents fill a batch, too
            if size >= BATCH_CHARS:
                yield batch, number >= skip
                batch, size = [], 0
    if batch:
        yield batch, number >= skip


def _pieces(document: Document) -> Iterator[Piece]:
    if isinstance(document.text, str):
        yield Piece(document, document.text, len(document.text))
        return
    whole = Digest()
    previous = ""
    for text in document.text:
        if previous:
            yield Piece(document, previous, len(previous), alone=False)
        whole.update(text)
        previous = text
    yield Piece(document, previous, len(previous), whole, alone=False)
