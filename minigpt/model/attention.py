"""Causal self-attention, and what it keeps of the past while text is generated.

Shapes: B batch, T time (tokens), C channels (n_embd), H heads, D = C / H.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minigpt.model.dropout import Dropout, drawn_here


class KeyValueCache:
    """The keys and values of the positions that one layer has seen, with room for all of them.

    So that a new token costs one position's work and not that of all before it (Shazeer, 2019).
    """

    def __init__(self, shape: tuple[int, int, int, int], like: Tensor) -> None:
        self.keys = like.new_empty(shape)  # (B, H, room, D)
        self.values = like.new_empty(shape)
        self.length = 0

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """(B, H, T, D) of the next T positions -> keys and values of all positions so far."""
        start, self.length = self.length, self.length + k.shape[2]
        self.keys[:, :, start : self.length] = k
        self.values[:, :, start : self.length] = v
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]


class CausalSelfAttention(nn.Module):
    """Every position looks at itself and at what came before it (Vaswani et al., 2017)."""

    def __init__(self, n_embd: int, n_head: int, dropout: float, bias: bool) -> None:
        super().__init__()
        self.n_head = n_head
        self.dropout = Dropout(dropout)
        self.qkv = nn.Linear(n_embd, 3 * n_embd, bias=bias)
        self.proj = nn.Linear(n_embd, n_embd, bias=bias)

    def forward(self, x: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """(B, T, C) -> (B, T, C); with a cache, T is all of a start or one position after it."""
        B, T, C = x.shape
        heads = self.qkv(x).view(B, T, 3, self.n_head, C // self.n_head)
        q, k, v = heads.permute(2, 0, 3, 1, 4)  # each (B, H, T, D)
        if cache is not None:
            k, v = cache.extend(k, v)
        p = self.dropout.p if self.training else 0.0
        if p and drawn_here(x):
            y = self._written_out(q, k, v)
        else:
            # A lone position sees every key there is.
            y = F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=T > 1)
        return self.proj(y.transpose(1, 2).reshape(B, T, C))

    def _written_out(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        # torch has no kernel for dropping weights on a CPU: it does these steps as well, slower.
        T, D = q.shape[-2:]
        future = torch.ones(T, T, dtype=torch.bool).triu(1)
        scores = (q / math.sqrt(D)) @ k.transpose(-2, -1)
        weights = scores.masked_fill(future, -math.inf).softmax(-1)
        return self.dropout(weights) @ v
