"""Documents -> token ids in the documents' order, tokenized on every core."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from minigpt.text.document import Document
from minigpt.tokens.sharded import Ids
from minigpt.tokens.split import Digest
from minigpt.tokens.tokenizer import Tokenizer, id_dtype

BATCH_CHARS = 1 << 18  # text that a thread is handed at a time


@dataclass(slots=True)
class Piece:
    """A document, or a piece of one too long to hold, on its way through the tokenizer."""

    document: Document
    text: str
    whole: Digest | None = None  # of the document; only its last piece carries it
    alone: bool = True  # the document has no other piece
    ids: Ids | None = None  # None for a document that a finished part holds


def tokenized(
    documents: Iterable[Document], tokenizer: Tokenizer, skip: int, pool: ThreadPoolExecutor
) -> Iterator[Piece]:
    """Pieces in order, a few batches ahead of their use.

    The first `skip` documents are in finished parts; they are hashed but not tokenized. Threads
    are enough, since tiktoken releases Python's lock while it encodes.
    """
    dtype = id_dtype(tokenizer.n_vocab - 1)

    def work(batch: list[Piece], encode: bool) -> list[Piece]:
        for piece in batch:
            if piece.alone:
                piece.whole = Digest(piece.text)
            if encode:
                piece.ids = tokenizer.encode_to_numpy(piece.text).astype(dtype)
        return batch

    waiting: deque[Future[list[Piece]]] = deque()
    ahead = 2 * (os.cpu_count() or 1) + 2
    for batch, encode in _batches(documents, skip):
        waiting.append(pool.submit(work, batch, encode))
        if len(waiting) > ahead:
            yield from waiting.popleft().result()
    while waiting:
        yield from waiting.popleft().result()


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
            size += len(piece.text) + 1  # so that empty documents fill a batch, too
            if size >= BATCH_CHARS:
                yield batch, number >= skip
                batch, size = [], 0
    if batch:
        yield batch, number >= skip


def _pieces(document: Document) -> Iterator[Piece]:
    if isinstance(document.text, str):
        yield Piece(document, document.text)
        return
    whole = Digest()
    previous = ""
    for text in document.text:
        if previous:
            yield Piece(document, previous, alone=False)
        whole.update(text)
        previous = text
    yield Piece(document, previous, whole, alone=False)
