"""Documents of a token store -> passages of equal length, spread evenly over them.

Shapes: D documents, N passages.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minigpt.tokens.document_list import StoredDocument
from minigpt.tokens.sharded import Ids
from minigpt.tokens.store import TokenStore, ends_documents


@dataclass(frozen=True, slots=True)
class Passage:
    """Consecutive tokens of a document."""

    document: StoredDocument
    split: str
    position: int  # of its first token in the document
    end: int  # of the document's text, the id that ends it left out
    ids: Ids


class Documents:
    """The documents of some splits of a store, the id that ends a document left out."""

    def __init__(self, store: TokenStore, splits: Sequence[str], separator: int | None) -> None:
        self.store = store
        self.splits = splits
        sizes = [document.tokens for _, document in self._listed()]
        self.lengths = np.array(sizes, np.int64)  # (D)
        if separator is not None and any(ends_documents(store, s, separator) for s in splits):
            self.lengths -= 1

    def _listed(self) -> Iterator[tuple[str, StoredDocument]]:
        for split in self.splits:
            for document in self.store.documents(split):
                yield split, document

    @property
    def tokens(self) -> int:
        return int(self.lengths.sum())

    def count_shorter(self, length: int) -> int:
        """Documents that have no passage of this length."""
        return int((self.lengths < length).sum())

    def count_passages(self, length: int, step: int = 1) -> int:
        """Passages of this length that begin `step` tokens apart."""
        return int(self._passages_of(length, step).sum())

    def passages(self, length: int, at_most: int, seed: int, step: int = 1) -> list[Passage]:
        """Passages in the order of the text, evenly spaced if there are more than at_most.

        step: tokens between two places where a passage may begin; `length`: they do not overlap.
        """
        counts = self._passages_of(length, step)  # (D)
        ends = np.cumsum(counts)
        total = int(counts.sum())
        N = min(at_most, total)
        first = np.random.default_rng(seed).random()
        chosen = ((np.arange(N) + first) * total / max(1, N)).astype(np.int64)  # (N), all different
        numbers = np.searchsorted(ends, chosen, "right")
        positions = (chosen - (ends - counts)[numbers]) * step
        return [*self._read(numbers, positions, length)]

    def _passages_of(self, length: int, step: int) -> NDArray[np.int64]:
        return np.maximum(0, (self.lengths - length) // step + 1)

    def _read(
        self, numbers: NDArray[np.int64], positions: NDArray[np.int64], length: int
    ) -> Iterator[Passage]:
        """The passages at rising (document number, position)."""
        places = iter(zip(numbers.tolist(), positions.tolist(), strict=True))
        number, position = next(places, (-1, 0))
        for i, (split, document) in enumerate(self._listed()):
            tokens = self.store.tokens(split) if i == number else None
            while i == number and tokens is not None:
                start = document.start + position
                ids = tokens[start : start + length]
                yield Passage(document, split, position, int(self.lengths[i]), ids)
                number, position = next(places, (-1, 0))
            if number < 0:
                return
