"""Dropout, whose random numbers cost a CPU more than all else that it does."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 2**16  # of a random number


class Dropout(nn.Module):
    """Zeroes a share p in training and scales up the rest to make up (Srivastava et al., 2014).

    On a CPU p is rounded to a multiple of 2^-16: torch draws a whole random number an element
    there, and here one of 64 bits serves four, which took a third of the time.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and self.p):
            return x
        return x * _scaled_mask(x, self.p) if drawn_here(x) else F.dropout(x, self.p)


def drawn_here(x: Tensor) -> bool:
    """Whether a mask for x is drawn by this module: on a CPU, unless a compiler makes one."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def _scaled_mask(like: Tensor, p: float) -> Tensor:
    """0 with probability p and else 1 / (1 - p)."""
    dropped = min(round(p * LEVELS), LEVELS - 1)
    longs = torch.empty(-(-like.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    levels = longs.view(torch.int16)[: like.numel()].view(like.shape)
    kept = levels >= dropped - LEVELS // 2
    return kept.to(like.dtype).mul_(LEVELS / (LEVELS - dropped))
