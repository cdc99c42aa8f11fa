"""Dropout with a fast mask on CPU, where drawing random numbers takes most of the time."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 2**16  # distinct values of the 16-bit random number that decides one element


@dataclass(frozen=True)
class RowsOfBatch:
    """Which rows of a batch one of several processes has."""

    first: int
    total: int  # rows of the batch in all processes
    generator: torch.Generator  # in the same state in all processes


class Dropout(nn.Module):
    """Zero elements with probability p in training and scale the rest by 1 / (1 - p).

    See Srivastava et al., 2014. On CPU p is rounded to a multiple of 2^-16: torch draws one random
    number per element there, and we split each 64-bit number into four, several times as fast.
    rows: where x is a part of a batch. On CPU its mask is then that part of the batch's mask, so
    that several processes train as one does; each draws all of it.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.rows: RowsOfBatch | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(...) -> (...), any shape; returns x itself outside training or for p = 0."""
        if not (self.training and self.p):
            return x
        if draws_own_mask(x):
            return x * _scaled_mask(x, self.p, self.rows)
        return F.dropout(x, self.p)


def draws_own_mask(x: Tensor) -> bool:
    """True if we draw the dropout mask ourselves: on CPU, outside torch.compile."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def _scaled_mask(like: Tensor, p: float, rows: RowsOfBatch | None) -> Tensor:
    """Random tensor shaped like `like`: 0 with probability p, otherwise 1 / (1 - p)."""
    # At least one level is kept, so that the scale below stays finite.
    dropped_levels = min(round(p * LEVELS), LEVELS - 1)
    shape = like.shape if rows is None else (rows.total, *like.shape[1:])
    size, generator = math.prod(shape), None if rows is None else rows.generator
    int64s = torch.empty(-(-size // 4), dtype=torch.int64)
    int64s.random_(-(2**63), None, generator=generator)
    levels = int64s.view(torch.int16)[:size].view(shape)  # uniform, -2^15 to 2^15 - 1
    if rows is not None:
        levels = levels[rows.first : rows.first + len(like)]
    kept = levels >= dropped_levels - LEVELS // 2
    return kept.to(like.dtype).mul_(LEVELS / (LEVELS - dropped_levels))
