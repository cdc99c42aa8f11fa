"""Several sources mixed, each with its weight's share of the text."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

from minigpt.text.config import PartConfig
from minigpt.text.document import Document
from minigpt.text.opening import BytesRead
from minigpt.text.source import Source


class MixtureSource(Source):
    """Takes each document from the source that is furthest behind its share of the characters.

    So the shares hold at every point to within one document. The mixture ends with the first
    source that ends, since its share could not be held any longer. Held-out documents of all
    sources come first and count for no share. The seed decides which source starts.
    """

    def __init__(self, parts: Sequence[tuple[PartConfig, Source]], seed: int) -> None:
        self._parts = parts
        self._seed = seed
        self.identity = [f"mix {seed}"]
        for part, source in parts:
            self.identity += [f"{part.name} {part.weight}", *source.identity]
        sizes = [source.bytes for _, source in parts if source.bytes is not None]
        self.bytes = sum(sizes) if len(sizes) == len(parts) else None

    def documents(self, read: BytesRead) -> Iterator[Document]:
        streams = [source.documents(read) for _, source in self._parts]
        # The first document of each source that is not held out; read, but not used yet.
        first: list[Document | None] = []
        for (part, _), stream in zip(self._parts, streams, strict=True):
            document = next(stream, None)
            while document is not None and document.split in ("val", "test"):
                yield replace(document, domain=part.name)
                document = next(stream, None)
            first.append(document)
        rng = random.Random(self._seed)
        # Characters so far over weight; a random start below one character breaks the first tie.
        progress = [rng.random() / part.weight for part, _ in self._parts]
        while True:
            i = progress.index(min(progress))
            part, stream = self._parts[i][0], streams[i]
            document, first[i] = first[i] or next(stream, None), None
            if document is None:
                return
            counted = _CountedPieces(document.pieces())
            text = document.text if isinstance(document.text, str) else iter(counted)
            yield replace(document, domain=part.name, text=text)
            chars = len(text) if isinstance(text, str) else counted.chars
            progress[i] += max(1, chars) / part.weight  # an empty document moves on, too


class _CountedPieces:
    """Pieces of a long text, and the number of characters read so far."""

    def __init__(self, pieces: Iterator[str]) -> None:
        self._pieces = pieces
        self.chars = 0

    def __iter__(self) -> Iterator[str]:
        for piece in self._pieces:
            self.chars += len(piece)
            yield piece
