"""Continuing a sequence of token ids, one sampled token at a time.

Shapes: B sequences, T tokens, V vocabulary.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from minigpt.errors import UserError, check_types
from minigpt.model.attention import KeyValueCache
from minigpt.model.gpt import GPT


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn; greedy takes the likeliest and ignores the rest.

    Raises UserError on a temperature outside [0.001, 1000], top_k below 1 or top_p outside (0, 1].
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    greedy: bool = False

    def __post_init__(self) -> None:
        check_types("sampling", self)
        if not 1e-3 <= self.temperature <= 1e3:
            raise UserError(
                f"temperature must lie in [0.001, 1000], got {self.temperature}; or use greedy"
            )
        if self.top_k is not None and self.top_k < 1:
            raise UserError(f"top_k must be at least 1, got {self.top_k}")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise UserError(f"top_p must lie in (0, 1], got {self.top_p}")


def next_token_probabilities(logits: Tensor, sampling: Sampling) -> Tensor:
    """(B, V) logits -> (B, V) probabilities after temperature, top-k and top-p; not for greedy.

    Top-p keeps the smallest set of likeliest tokens whose probability reaches p (Holtzman et al.,
    2020); top-k (Fan et al., 2018) keeps the k likeliest.
    """
    logits = logits.float() / sampling.temperature
    if sampling.top_k is not None:
        kth = logits.topk(min(sampling.top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < kth, -torch.inf)
    p = logits.softmax(-1)
    if sampling.top_p is not None:
        ranked, index = p.sort(descending=True)
        before = ranked.cumsum(-1) - ranked  # what stands in front of each token
        ranked[before >= sampling.top_p] = 0
        p = torch.zeros_like(p).scatter(-1, index, ranked)
        p /= p.sum(-1, keepdim=True)
    return p


def draw(p: Tensor, rng: torch.Generator) -> Tensor:
    """(B, V) probabilities -> (B, 1) ids, one uniform number a row read off the running sum.

    torch.multinomial needs a random number for every word.
    """
    below = p.cumsum(-1)
    total = below[:, -1:]
    u = torch.rand(total.shape, generator=rng, device=p.device) * total
    # Strictly less than the total, so that the answer has a probability above 0.
    return torch.searchsorted(below, u.minimum(total.nextafter(total.new_zeros(()))), right=True)


@torch.no_grad()
def generate(
    net: GPT, tokens: Tensor, max_new_tokens: int, sampling: Sampling, seed: int
) -> Tensor:
    """(B, T) ids -> (B, T + max_new_tokens) ids; the network sees the last block_size of them.

    The draws depend on the seed alone, and no other random state is touched.
    """
    rng = torch.Generator(tokens.device).manual_seed(seed)
    context = net.config.block_size
    was_training = net.training
    net.eval()
    caches: list[KeyValueCache] | None = net.empty_caches(tokens.shape[0])
    unseen = tokens[:, -context:]  # what the caches do not hold yet
    # A product of few rows with the head reads it four times as fast when its words lie in a row.
    head = net.head.weight.T.contiguous()
    # Every token has another length, for each of which a compiler would begin anew.
    with torch.compiler.set_stance("force_eager"):
        for _ in range(max_new_tokens):
            logits = net.hidden(unseen, caches)[:, -1] @ head
            if net.head.bias is not None:
                logits += net.head.bias
            if sampling.greedy:
                new = logits.argmax(-1, keepdim=True)
            else:
                new = draw(next_token_probabilities(logits, sampling), rng)
            tokens = torch.cat([tokens, new], dim=1)
            unseen = new
            if tokens.shape[1] > context:  # the window slides, and every position with it
                caches, unseen = None, tokens[:, -context:]
    net.train(was_training)
    return tokens
