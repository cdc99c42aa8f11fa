"""Continuing a sequence of token ids, one sampled token at a time.

Shapes: B sequences, T tokens, V vocabulary.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from minigpt.errors import UserError, check_types
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
    """(B, V) logits -> (B, V) probabilities after temperature, top-k and top-p.

    Top-p keeps the smallest set of likeliest tokens whose probability reaches p (Holtzman et al.,
    2020); top-k (Fan et al., 2018) keeps the k likeliest.
    """
    if sampling.greedy:
        return torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).float()
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


@torch.no_grad()
def generate(
    net: GPT, tokens: Tensor, max_new_tokens: int, sampling: Sampling, seed: int
) -> Tensor:
    """(B, T) ids -> (B, T + max_new_tokens) ids; the network sees the last block_size of them.

    The draws depend on the seed alone, and no other random state is touched.
    """
    rng = torch.Generator(tokens.device).manual_seed(seed)
    was_training = net.training
    net.eval()
    for _ in range(max_new_tokens):
        last = net.hidden(tokens[:, -net.config.block_size :])[:, -1]
        p = next_token_probabilities(net.head(last), sampling)
        tokens = torch.cat([tokens, torch.multinomial(p, 1, generator=rng)], dim=1)
    net.train(was_training)
    return tokens
