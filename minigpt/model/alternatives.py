"""What a network would rather have said: the likeliest tokens in the place of given ones.

Shapes: N tokens, C channels (n_embd), V vocabulary, R rows of one chunk, G groups of columns,
K alternatives.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from minigpt.model.scores import Head

CHUNK_ROWS = 128  # rows of logits that are held at a time: so few stay in a cache
GROUP = 64  # columns of which the largest is found in one vectorised pass


class Alternatives(NamedTuple):
    """One row for each target."""

    nats: Float[Tensor, "N"]  # -log p of the target, float32
    rank: Int[Tensor, "N"]  # tokens that are more likely than the target; 0 for the likeliest
    ids: Int[Tensor, "N K"]  # the likeliest tokens, best first
    probabilities: Float[Tensor, "N K"]


@torch.inference_mode()
def score_alternatives(
    head: Head, hidden: Float[Tensor, "N C"], targets: Int[Tensor, "N"], count: int
) -> Alternatives:
    """(N, C) hidden states, (N) targets -> nats and rank of each, and the `count` likeliest tokens.

    K is less than count where the vocabulary is smaller.
    """
    N, K = len(targets), min(count, len(head.weight))
    nats = hidden.new_empty(N, dtype=torch.float32)
    rank = targets.new_empty(N)
    ids = targets.new_empty(N, K)
    probabilities = hidden.new_empty(N, K, dtype=torch.float32)
    is_larger = hidden.new_empty(min(N, CHUNK_ROWS), len(head.weight))
    for start in range(0, N, CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        logits = head.logits(hidden[rows])  # (R, V)
        target = logits.gather(1, targets[rows, None])  # (R, 1)
        # Ones and zeros in float32: torch makes and adds up booleans five times as slowly.
        rank[rows] = torch.gt(logits, target, out=is_larger[: len(logits)]).sum(1).long()
        largest, ids[rows] = likeliest(logits, K)  # (R, K)
        top = largest[:, :1]
        log_sum = logits.sub_(top).exp_().sum(1, keepdim=True).log_() + top  # (R, 1)
        nats[rows] = (log_sum - target)[:, 0]
        probabilities[rows] = (largest - log_sum).exp_()
    return Alternatives(nats, rank, ids, probabilities)


def likeliest(
    logits: Float[Tensor, "R V"], count: int
) -> tuple[Float[Tensor, "R K"], Int[Tensor, "R K"]]:
    """torch.topk of long rows, several times as fast on a CPU: the values and their columns.

    The count largest of a row lie in the count groups of columns whose largest are the largest.
    """
    R, V = logits.shape
    G = V // GROUP
    if count > G:
        return logits.topk(count)
    # Group g holds the columns g, g + G, g + 2 G, ...: the maximum runs along whole rows.
    groups = logits[:, : GROUP * G].unflatten(1, (GROUP, G)).amax(1)  # (R, G)
    rest = logits[:, GROUP * G :]  # (R, fewer than GROUP)
    chosen = groups.topk(count).indices  # (R, K)
    steps = torch.arange(GROUP, device=logits.device) * G
    columns = (chosen[:, :, None] + steps).flatten(1)  # (R, K * GROUP)
    rest_columns = torch.arange(GROUP * G, V, device=logits.device).expand(R, -1)
    columns = torch.cat([columns, rest_columns], 1)
    values = torch.cat([logits.gather(1, columns[:, : count * GROUP]), rest], 1)
    largest, places = values.topk(count)
    return largest, columns.gather(1, places)
