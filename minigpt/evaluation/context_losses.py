"""Loss by position in the context: how much a network gains from the tokens before."""

from dataclasses import dataclass

import numpy as np

from minigpt.evaluation.windows import WindowScores


@dataclass(frozen=True)
class ContextLoss:
    """The tokens that were predicted from `first` to `last` tokens before them."""

    first: int
    last: int
    tokens: int
    loss: float  # nats a token


class ContextMeter:
    """Sums nats by the length of the context, in bins 1, 2, 3 to 4, 5 to 8, ... block_size."""

    def __init__(self, block_size: int) -> None:
        powers = [2**i for i in range(block_size.bit_length())]
        self._last = np.unique([*powers, block_size])
        self._nats = np.zeros(len(self._last))
        self._tokens = np.zeros(len(self._last), np.int64)

    def add(self, scores: WindowScores) -> None:
        bins = np.searchsorted(self._last, scores.context)
        self._nats += np.bincount(bins, scores.nats, len(self._last))
        self._tokens += np.bincount(bins, minlength=len(self._last))

    def losses(self) -> list[ContextLoss]:
        """The bins that hold a token, from the shortest context on."""
        first = [1, *(self._last[:-1] + 1).tolist()]
        return [
            ContextLoss(start, int(last), int(tokens), float(nats / tokens))
            for start, last, tokens, nats in zip(
                first, self._last, self._tokens, self._nats, strict=True
            )
            if tokens
        ]
