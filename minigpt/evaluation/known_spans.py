"""Spans of text that a network knows by heart: each of their tokens is its first choice.

Greedy decoding from the context before such a span writes the span word for word.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Span(NamedTuple):
    """Consecutive scored tokens of a document."""

    start: int
    tokens: int


def known_spans(rank: NDArray[np.integer[Any]], shortest: int) -> list[Span]:
    """The longest runs of rank 0, of at least `shortest` tokens, in order."""
    is_first = np.concatenate([[False], rank == 0, [False]])
    starts, ends = np.flatnonzero(is_first[1:] != is_first[:-1]).reshape(-1, 2).T
    return [
        Span(start, end - start)
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
        if end - start >= shortest
    ]
