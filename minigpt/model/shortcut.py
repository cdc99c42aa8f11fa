"""A way for the embedding past the blocks before a block.

Shapes: B batch, T tokens, C channels (n_embd).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class EmbeddingShortcut(nn.Module):
    """A learned mix of the residual stream and the embedding; at first the stream alone.

    A deeper block then still sees which token it stands at, whatever the blocks before it added.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shares = nn.Parameter(torch.tensor([1.0, 0.0]))  # of the stream, of the embedding

    def forward(
        self, x: Float[Tensor, "B T C"], embedding: Float[Tensor, "B T C"]
    ) -> Float[Tensor, "B T C"]:
        """(B, T, C) stream and (B, T, C) normalised embedding -> (B, T, C)."""
        return self.shares[0] * x + self.shares[1] * embedding
