"""Cuts the tokens of one split into blocks to train on.

Shapes: B blocks, T block_size tokens.
"""

import math

import numpy as np
from numpy.typing import NDArray

from minigpt.tokens.sharded import Tokens


def count_blocks(n_tokens: int, block_size: int, stride: int) -> int:
    """How many blocks it takes to cover every target.

    A block is block_size inputs and, as targets, the token after each. Stride 1 gives every
    window; stride block_size uses each token once. The last block may be short: the loss ignores
    its missing targets. 5,120 tokens, 64, 1 -> 5,056; 316,593,536 tokens, 128, 128 -> 2,473,387.
    """
    targets = n_tokens - 1
    if targets < block_size:
        return 0
    return 1 + math.ceil((targets - block_size) / stride)


def count_batches(n_blocks: int, batch_size: int) -> int:
    """Batches of an epoch; the last one may be smaller."""
    return math.ceil(n_blocks / batch_size)


def rows_of_rank(rows: int, rank: int, world_size: int) -> range:
    """The rows of a batch that one of several processes trains on; none where there are too few.

    5 rows over 2 processes: 0 to 1, and 2 to 4.
    """
    return range(rows * rank // world_size, rows * (rank + 1) // world_size)


class Blocks:
    """Training examples cut from one split's tokens."""

    def __init__(self, tokens: Tokens, block_size: int, stride: int, ignore: int) -> None:
        self.tokens = tokens
        self.block_size = block_size
        self.stride = stride
        self.ignore = ignore  # stands for the missing targets of a short last block

    def __len__(self) -> int:
        return count_blocks(len(self.tokens), self.block_size, self.stride)

    def batch(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(B) block numbers -> (B, T) inputs and (B, T) targets, the token after each input."""
        starts, length = indices * self.stride, self.block_size + 1
        if int(starts.max()) + length <= len(self.tokens):
            window = self.tokens.rows(starts, length).astype(np.int64)
            return window[:, :-1], window[:, 1:]
        window = np.full((len(starts), length), self.ignore, np.int64)
        for row, start in zip(window, starts.tolist(), strict=True):
            ids = self.tokens[start : start + length]
            row[: len(ids)] = ids
        inputs, targets = window[:, :-1], window[:, 1:]
        # An input without a target comes after all that have one, so any token will do.
        return np.where(inputs == self.ignore, 0, inputs), targets
