"""Position embeddings, which are added to those of tokens.

Shapes: C channels (n_embd); "..." is T tokens, or B sequences of T tokens.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

POSITIONS = ("learned", "sinusoidal", "rotary", "none")  # rotary ones act in attention


class SinusoidalEmbedding(nn.Module):
    """Sines and cosines of decreasing frequencies, without parameters (Vaswani et al., 2017).

    They are scaled to the standard deviation that a learned embedding starts with, 0.02.
    """

    def __init__(self, n_embd: int) -> None:
        super().__init__()
        self.n_embd = n_embd

    def forward(self, positions: Int[Tensor, "..."]) -> Float[Tensor, "... C"]:
        """(...) positions -> (..., C)."""
        even_channels = torch.arange(0, self.n_embd, 2, device=positions.device)
        angles = positions[..., None] * 10_000.0 ** (-even_channels / self.n_embd)  # (..., C / 2)
        waves = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)
        # A sine's standard deviation is 1 / sqrt(2). An odd C drops the last cosine.
        return waves[..., : self.n_embd] * (0.02 * math.sqrt(2))


def position_embedding(kind: str, block_size: int, n_embd: int) -> nn.Module | None:
    """The module for one of POSITIONS; None where nothing is added to the embeddings."""
    if kind == "learned":
        return nn.Embedding(block_size, n_embd)
    return SinusoidalEmbedding(n_embd) if kind == "sinusoidal" else None
