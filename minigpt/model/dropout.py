"""Dropout with a fast mask on CPU, where drawing random numbers takes most of the time."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 2**16  # distinct values of the 16-bit random number that decides one element


class Dropout(nn.Module):
    """Zero elements with probability p in training and scale the rest by 1 / (1 - p).

    See Srivastava et al., 2014. On CPU p is rounded to a multiple of 2^-16: torch draws one random
    number per element there, and we split each 64-bit number into four, several times as fast.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """(...) -> (...), any shape; returns x itself outside training or for p = 0."""
        if not (self.training and self.p):
            return x
        return x * _scaled_mask(x, self.p) if draws_own_mask(x) else F.dropout(x, self.p)


def draws_own_mask(x: Tensor) -> bool:
    """True if we draw the dropout mask ourselves: on CPU, outside torch.compile."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def _scaled_mask(like: Tensor, p: float) -> Tensor:
    """Random tensor shaped like `like`: 0 with probability p, otherwise 1 / (1 - p)."""
    # At least one level is kept, so that the scale below stays finite.
    dropped_levels = min(round(p * LEVELS), LEVELS - 1)
    int64s = torch.empty(-(-like.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    levels = int64s.view(torch.int16)[: like.numel()].view(like.shape)  # uniform, -2^15 to 2^15 - 1
    kept = levels >= dropped_levels - LEVELS // 2
    return kept.to(like.dtype).mul_(LEVELS / (LEVELS - dropped_levels))
