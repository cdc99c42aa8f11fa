"""What a network makes of given tokens: the nats and the rank of each.

Shapes: N tokens, C channels (n_embd), V vocabulary, P = V padded, R rows and K columns of a tile.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from minigpt.model.fused_head import ALIGNMENT
from minigpt.model.softcap import soft_cap_

# Logits that are held at a time. On a CPU the passes over them cost as much as their product where
# they leave its cache; a GPU has the bandwidth, and loses time with every small kernel.
ROWS = 512
COLUMNS = 1024


class Scores(NamedTuple):
    """One entry for each target."""

    nats: Float[Tensor, "N"]  # -log p of the target, float32
    rank: Int[Tensor, "N"]  # tokens that are more likely than the target; 0 for the likeliest


class Head:
    """A head with its buffer, laid out once for many calls: rows of logits start on a cache line.

    weight (V, C), bias (V) or None, softcap of the logits or None.
    """

    def __init__(
        self, weight: Float[Tensor, "V C"], bias: Float[Tensor, "V"] | None, softcap: float | None
    ) -> None:
        self.softcap = softcap
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
        torch.mm(hidden.to(self.weight.dtype), self.weight.T, out=logits)
        if self.bias is not None:
            logits += self.bias
        return soft_cap_(logits, self.softcap)

    def tiles(self, hidden: Float[Tensor, "R C"]) -> Iterator[tuple[int, Float[Tensor, "R K"]]]:
        """(R, C) -> a first token's id and the (R, K) logits from it on, for all of the vocabulary.

        A tile is overwritten by the next. Threads may share the head.
        """
        hidden, V = hidden.to(self.weight.dtype), len(self.weight)
        width = V if hidden.is_cuda else min(V, COLUMNS)
        buffer = self.weight.new_empty(len(hidden) * width)
        for start in range(0, V, width):
            weight = self.weight[start : start + width]
            logits = buffer[: len(hidden) * len(weight)].view(len(hidden), len(weight))
            torch.mm(hidden, weight.T, out=logits)
            if self.bias is not None:
                logits += self.bias[start : start + width]
            yield start, soft_cap_(logits, self.softcap)

    def of_targets(
        self, hidden: Float[Tensor, "R C"], targets: Int[Tensor, "R"]
    ) -> Float[Tensor, "R"]:
        """(R, C) hidden states, (R) ids -> the logit of each row's own id, in float32."""
        logits = (hidden.float() * self.weight[targets].float()).sum(1)
        if self.bias is not None:
            logits += self.bias[targets]
        return soft_cap_(logits, self.softcap)


@torch.inference_mode()
def score_targets(head: Head, hidden: Float[Tensor, "N C"], targets: Int[Tensor, "N"]) -> Scores:
    """(N, C) hidden states, (N) targets -> the nats and the rank of each target.

    A target as likely as another counts as the more likely of the two.
    """
    nats = hidden.new_empty(len(targets), dtype=torch.float32)
    rank = targets.new_empty(len(targets))

    def score(rows: slice) -> None:
        nats[rows], rank[rows] = _score_rows(head, hidden[rows], targets[rows])

    chunks = [slice(start, start + ROWS) for start in range(0, len(targets), ROWS)]
    if hidden.is_cuda or len(chunks) < 2 or torch.get_num_threads() < 2:
        for rows in chunks:
            score(rows)
    else:
        _in_threads(score, chunks)
    return Scores(nats, rank)


def _in_threads(work: Callable[[slice], None], chunks: Sequence[slice]) -> None:
    """A chunk for each core at a time.

    torch's own threads wait for each other after every small step, of which a chunk has hundreds,
    and each would work on a part of every tile instead of a tile in its own cache.
    """
    threads = torch.get_num_threads()

    @torch.inference_mode()
    def alone(rows: slice) -> None:
        torch.set_num_threads(1)
        work(rows)

    try:
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(alone, chunks):
                pass
    finally:
        torch.set_num_threads(threads)  # a part of that setting is the process's


def _score_rows(head: Head, hidden: Float[Tensor, "R C"], targets: Int[Tensor, "R"]) -> Scores:
    """With t the target's logit, nats are log(sum exp(x - t)): the sum is 1 or more."""
    t = head.of_targets(hidden, targets)  # (R)
    total, rank = torch.zeros_like(t), torch.zeros_like(t)
    is_more = t.new_empty(0)
    for start, logits in head.tiles(hidden):
        x = logits.float().sub_(t[:, None])  # (R, K)
        # The product may round the target's own logit to another number.
        column = targets - start
        rows = ((column >= 0) & (column < x.shape[1])).nonzero()[:, 0]
        x[rows, column[rows]] = 0
        # Comparing into float32 and summing that is the fastest way to count.
        is_more = is_more if is_more.shape == x.shape else torch.empty_like(x)
        rank += torch.gt(x, 0, out=is_more).sum(1)
        total += x.exp_().sum(1)
    nats = total.log()
    overflown = nats.isinf()  # a token e^88 times as likely as the target
    if overflown.any():
        logits = F.linear(hidden[overflown].to(head.weight.dtype), head.weight).float()
        logits = soft_cap_(logits if head.bias is None else logits + head.bias, head.softcap)
        nats[overflown] = logits.logsumexp(1) - t[overflown]
    return Scores(nats, rank.long())
