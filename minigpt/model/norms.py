"""Normalisation of hidden states, and of queries and keys.

Shapes: B batch, T tokens, C channels (n_embd), H heads, D = C / H.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

NORMS = ("layer", "rms")
EPSILON = 1e-5  # added to the mean square, as in GPT-2's layer norm


class RMSNorm(nn.Module):
    """Root mean square norm with a gain for each channel (Zhang and Sennrich, 2019)."""

    def __init__(self, n_embd: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_embd))

    def forward(self, x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B C"]:
        """(..., C) -> (..., C)."""
        return F.rms_norm(x, x.shape[-1:], self.weight, EPSILON)


class QueryKeyNorm(nn.Module):
    """Root mean square norm of each query and key, with gains that the heads share.

    See Henry et al., 2020. The gains, one a channel for queries and one for keys, set how sharp
    attention can be: without them a score would be at most sqrt(D).
    """

    def __init__(self, head_width: int) -> None:
        super().__init__()
        self.query_gain = nn.Parameter(torch.ones(head_width))
        self.key_gain = nn.Parameter(torch.ones(head_width))

    def forward(self, qk: Float[Tensor, "B T 2 H D"]) -> Float[Tensor, "B T 2 H D"]:
        """(B, T, 2, H, D) queries and keys -> the same shape and dtype."""
        gains = torch.stack([self.query_gain, self.key_gain])[:, None]  # (2, 1, D)
        return rms_normalised(qk) * gains.to(qk.dtype)


def rms_normalised(x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B C"]:
    """(..., C) -> (..., C), each row divided by its root mean square."""
    return F.rms_norm(x, x.shape[-1:], eps=EPSILON)


def make_norm(kind: str, n_embd: int, bias: bool) -> nn.Module:
    """The norm of hidden states for one of NORMS; rms never has a bias."""
    return nn.LayerNorm(n_embd, eps=EPSILON, bias=bias) if kind == "layer" else RMSNorm(n_embd)
