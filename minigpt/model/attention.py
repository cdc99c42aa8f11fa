"""Causal self-attention and its key/value cache.

Shapes: B batch, T tokens, S cached and new tokens, C channels (n_embd), H heads, D = C / H.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from minigpt.model.dropout import Dropout, draws_own_mask
from minigpt.model.norms import QueryKeyNorm
from minigpt.model.rotary import Rotation, rotate


@dataclass(frozen=True)
class Places:
    """Where one more token of each row goes in caches whose rows differ in length."""

    rows: Int[Tensor, "B"]
    positions: Int[Tensor, "B 1"]
    visible: Bool[Tensor, "B 1 1 S"]  # the positions that each row attends to: its own

    @classmethod
    def behind(cls, lengths: list[int], device: torch.device) -> "Places":
        """The place behind the tokens of each row."""
        positions = torch.tensor(lengths, device=device)[:, None]  # (B, 1)
        slots = torch.arange(max(lengths) + 1, device=device)  # (S)
        rows = torch.arange(len(lengths), device=device)
        return cls(rows, positions, (slots <= positions)[:, None, None])


class KeyValueCache:
    """The keys and values that one attention layer has computed so far, in a preallocated buffer.

    With a cache, generating a token computes attention for one position only (Shazeer, 2019).
    """

    def __init__(self, shape: tuple[int, int, int, int], like: Tensor) -> None:
        # Zeros, since an unused slot that is not a number would spoil the rows that do not see it.
        self.keys = like.new_zeros(shape)  # (B, H, capacity, D)
        self.values = like.new_zeros(shape)
        self.length = 0  # positions filled so far in every row

    def extend(
        self, k: Float[Tensor, "B H T D"], v: Float[Tensor, "B H T D"], places: Places | None = None
    ) -> tuple[Float[Tensor, "B H S D"], Float[Tensor, "B H S D"]]:
        """Append T positions, (B, H, T, D) each; return all keys and values, (B, H, S, D) each.

        With places, each row's token goes to its own place instead, and T is 1.
        """
        if places is not None:
            S = places.visible.shape[-1]
            self.keys[places.rows, :, places.positions[:, 0]] = k[:, :, 0]
            self.values[places.rows, :, places.positions[:, 0]] = v[:, :, 0]
            return self.keys[:, :, :S], self.values[:, :, :S]
        start, self.length = self.length, self.length + k.shape[2]
        self.keys[:, :, start : self.length] = k
        self.values[:, :, start : self.length] = v
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]


class CausalSelfAttention(nn.Module):
    """Multi-head attention to the same and earlier positions (Vaswani et al., 2017)."""

    def __init__(
        self,
        n_embd: int,
        n_head: int,
        dropout: float,
        bias: bool,
        qk_norm: bool,
        score_divisor: float,
    ) -> None:
        super().__init__()
        self.n_head = n_head
        self.score_divisor = score_divisor  # of the products of queries and keys
        self.dropout = Dropout(dropout)
        self.qkv = nn.Linear(n_embd, 3 * n_embd, bias=bias)
        self.qk_norm = QueryKeyNorm(n_embd // n_head) if qk_norm else None
        self.proj = nn.Linear(n_embd, n_embd, bias=bias)

    def forward(
        self,
        x: Float[Tensor, "B T C"],
        rotation: Rotation | None = None,
        cache: KeyValueCache | None = None,
        places: Places | None = None,
    ) -> Float[Tensor, "B T C"]:
        """(B, T, C) -> (B, T, C).

        Once a cache holds positions, T must be 1: the causal mask assumes that queries and keys
        start at the same position.
        """
        B, T, C = x.shape
        q, k, v = self.queries_keys_values(x, rotation)  # (B, H, T, D) each
        if cache is not None:
            k, v = cache.extend(k, v, places)  # (B, H, S, D) each
        p = self.dropout.p if self.training else 0.0
        if p and draws_own_mask(x):
            y = self._attention_with_own_dropout(q, k, v)
        else:
            # A single query may attend to every key of its row, so equal rows need no mask.
            visible = places.visible if places is not None else None
            y = F.scaled_dot_product_attention(
                q, k, v, attn_mask=visible, dropout_p=p, is_causal=T > 1,
                scale=1 / self.score_divisor,
            )  # fmt: skip
        return self.proj(y.transpose(1, 2).reshape(B, T, C))  # (B, H, T, D) -> (B, T, C)

    def queries_keys_values(
        self, x: Float[Tensor, "B T C"], rotation: Rotation | None
    ) -> tuple[Float[Tensor, "B H T D"], Float[Tensor, "B H T D"], Float[Tensor, "B H T D"]]:
        """(B, T, C) -> what attention compares, and what it adds up, (B, H, T, D) each."""
        B, T, C = x.shape
        qkv = self.qkv(x).view(B, T, 3, self.n_head, C // self.n_head)
        if self.qk_norm is None and rotation is None:
            q, k, v = qkv.permute(2, 0, 3, 1, 4)
            return q, k, v
        qk, v = qkv.split([2, 1], dim=2)
        if self.qk_norm is not None:
            qk = self.qk_norm(qk)
        if rotation is not None:
            qk = rotate(qk, rotation)
        q, k = qk.permute(2, 0, 3, 1, 4)
        return q, k, v.squeeze(2).transpose(1, 2)

    def _attention_with_own_dropout(
        self, q: Float[Tensor, "B H T D"], k: Float[Tensor, "B H T D"], v: Float[Tensor, "B H T D"]
    ) -> Float[Tensor, "B H T D"]:
        # SDPA has no fused CPU kernel with dropout; its fallback does the same math, slower.
        T = q.shape[-2]
        future = torch.ones(T, T, dtype=torch.bool).triu(1)
        scores = (q / self.score_divisor) @ k.transpose(-2, -1)  # (B, H, T, T)
        weights = scores.masked_fill(future, -math.inf).softmax(-1)
        return self.dropout(weights) @ v  # (B, H, T, D)
