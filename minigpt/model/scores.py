"""What a network makes of given tokens: the nats and the rank of each.

Shapes: N tokens, C channels (n_embd), V vocabulary, P = V padded, R rows of one chunk.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from minigpt.model.fused_head import ALIGNMENT

CHUNK_ROWS = 512  # rows of logits that are held at a time


class Scores(NamedTuple):
    """One entry for each target."""

    nats: Float[Tensor, "N"]  # -log p of the target, float32
    rank: Int[Tensor, "N"]  # tokens that are more likely than the target; 0 for the likeliest


class Head:
    """A head laid out once for many calls: rows of logits start on a cache line.

    weight (V, C), bias (V) or None.
    """

    def __init__(self, weight: Float[Tensor, "V C"], bias: Float[Tensor, "V"] | None) -> None:
        self.weight = weight.detach()
        self.bias = None if bias is None else bias.detach()
        self._columns = -(-len(weight) // ALIGNMENT) * ALIGNMENT  # P
        self._buffer = weight.new_empty(0)

    def logits(self, hidden: Float[Tensor, "R C"]) -> Float[Tensor, "R V"]:
        """(R, C) -> (R, V), in a buffer that the next call overwrites."""
        R, V = len(hidden), len(self.weight)
        if self._buffer.numel() < R * self._columns:
            self._buffer = self.weight.new_empty(R * self._columns)
        logits = self._buffer[: R * self._columns].view(R, self._columns)[:, :V]
        torch.mm(hidden, self.weight.T, out=logits)
        return logits if self.bias is None else logits.add_(self.bias)


@torch.inference_mode()
def score_targets(head: Head, hidden: Float[Tensor, "N C"], targets: Int[Tensor, "N"]) -> Scores:
    """(N, C) hidden states, (N) targets -> the nats and the rank of each target.

    A target as likely as another counts as the more likely of the two.
    """
    nats = hidden.new_empty(len(targets), dtype=torch.float32)
    rank = targets.new_empty(len(targets))
    for start in range(0, len(targets), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        logits = head.logits(hidden[rows])  # (R, V)
        target = logits.gather(1, targets[rows, None])  # (R, 1)
        rank[rows] = (logits > target).sum(1)
        nats[rows] = (_log_sum_exp_in_place(logits) - target[:, 0]).float()
    return Scores(nats, rank)


def _log_sum_exp_in_place(logits: Float[Tensor, "R V"]) -> Float[Tensor, "R"]:
    """torch.logsumexp without copies of the logits, which it destroys."""
    largest = logits.amax(1, keepdim=True)
    return logits.sub_(largest).exp_().sum(1).log() + largest[:, 0]
