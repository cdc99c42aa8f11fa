"""Training and held-out documents in pieces of equal length, and what a network makes of each.

Shapes: N pieces, T scored tokens of each.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minigpt.evaluation.passages import Documents
from minigpt.evaluation.windows import Scorer, Window
from minigpt.tokens.tokenizer import Tokenizer

ENOUGH = 40  # pieces of a side; there have to be as many before they are cut shorter
SHORTEST = 16  # tokens


@dataclass(frozen=True)
class Pieces:
    """The scores of pieces whose first token is context only."""

    nats: NDArray[np.float32]  # (N, T)
    zlib_bytes: NDArray[np.int64]  # (N) length of the piece's text once zlib packed it
    document: NDArray[np.int64]  # (N) which document it is from, in their order

    @property
    def loss(self) -> NDArray[np.float64]:
        """(N) nats a token."""
        return self.nats.mean(1, dtype=np.float64)


def piece_length(sides: Sequence[Documents], block_size: int) -> int | None:
    """Tokens of a piece: block_size, halved until each side has ENOUGH; None without a piece.

    Pieces of equal length cannot be told apart by their length.
    """
    length = block_size
    while length >= 2 * SHORTEST and _fewest(sides, length) < ENOUGH:
        length //= 2
    return length if _fewest(sides, length) >= 2 else None


def _fewest(sides: Sequence[Documents], length: int) -> int:
    return min(side.count_passages(length, length) for side in sides)


def score_pieces(
    scorer: Scorer, documents: Documents, tokenizer: Tokenizer, length: int, at_most: int, seed: int
) -> Pieces:
    """The scores of pieces that do not overlap, evenly spread over the documents."""
    passages = documents.passages(length, at_most, seed, step=length)
    scores = scorer.score(Window(passage.ids, length - 1) for passage in passages)
    texts = (tokenizer.decode(passage.ids.tolist()) for passage in passages)
    packed = [len(zlib.compress(text.encode("utf-8", "replace"))) for text in texts]
    starts = [(passage.split, passage.document.start) for passage in passages]
    numbers = {start: number for number, start in enumerate(dict.fromkeys(starts))}
    return Pieces(
        nats=np.stack([piece.nats for piece in scores]),
        zlib_bytes=np.array(packed, np.int64),
        document=np.array([numbers[start] for start in starts], np.int64),
    )
