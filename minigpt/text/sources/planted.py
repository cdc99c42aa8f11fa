"""Another source's documents with canaries between them."""

import random
from collections import deque
from collections.abc import Iterator, Sequence
from functools import cached_property

from minigpt.text.canaries import DOMAIN, Canary
from minigpt.text.document import Document
from minigpt.text.opening import BytesRead
from minigpt.text.source import Source


class PlantedSource(Source):
    """Each copy of a canary is a document of the training split.

    The copies of a canary are spread evenly over the documents that may be trained on, from a
    random place on. So copies stand side by side only where documents are fewer. The source is
    read once ahead to count its documents.
    """

    def __init__(
        self, source: Source, canaries: Sequence[Canary], seed: int, max_chars: int | None
    ) -> None:
        """max_chars: all copies come before so many characters; None: anywhere in the text."""
        self._source = source
        self._canaries = canaries
        self._seed = seed
        self._max_chars = max_chars
        self.identity = [*source.identity, *(f"{c.name} {c.text}" for c in canaries)]
        self.bytes = source.bytes

    def documents(self, read: BytesRead) -> Iterator[Document]:
        waiting = deque(self._places)
        trainable = 0  # documents so far that may be trained on
        for document in self._source.documents(read):
            if _may_be_trained_on(document):
                while waiting and waiting[0][0] <= trainable:
                    yield _copy(waiting.popleft()[1])
                trainable += 1
            yield document
        for _, canary in waiting:
            yield _copy(canary)

    @cached_property
    def _places(self) -> list[tuple[float, Canary]]:
        """Each copy, and how many documents come before it at least, in order."""
        rng = random.Random(f"places {self._seed}")
        count = self._count()
        places = []
        for canary in self._canaries:
            start = rng.random()
            for copy in range(canary.repeats):
                places.append(((copy + start) / canary.repeats * count, canary))
        return sorted(places, key=lambda place: (place[0], place[1].name))

    def _count(self) -> int:
        """The documents that may be trained on and end within max_chars."""
        count = chars = 0
        for document in self._source.documents(BytesRead()):
            # A long text has to be read to its end before the next document.
            size = sum(map(len, document.pieces()))
            if _may_be_trained_on(document):
                chars += size
                if self._max_chars is not None and chars > self._max_chars:
                    break
                count += 1
        return count


def _may_be_trained_on(document: Document) -> bool:
    return document.split in (None, "train")


def _copy(canary: Canary) -> Document:
    return Document(canary.name, canary.text, DOMAIN, "train", planted=True)
