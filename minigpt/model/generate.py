"""Sampling: continue sequences of token ids, one token at a time.

Shapes: B sequences, T tokens, C channels (n_embd), V vocabulary.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from minigpt.errors import UserError, check_types
from minigpt.model.attention import KeyValueCache
from minigpt.model.gpt import GPT


@dataclass(frozen=True)
class Sampling:
    """How to choose the next token; greedy takes the most likely one and ignores the other keys.

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


def next_token_probabilities(
    logits: Float[Tensor, "B V"], sampling: Sampling
) -> Float[Tensor, "B V"]:
    """Apply temperature, then top-k, then top-p; greedy is ignored.

    (B, V) logits -> (B, V) probabilities. Top-k keeps the k most likely tokens (Fan et al., 2018).
    Top-p keeps the smallest set of most likely tokens whose total probability reaches p (Holtzman
    et al., 2020).
    """
    logits = logits.float() / sampling.temperature
    if sampling.top_k is not None:
        kth_largest = logits.topk(min(sampling.top_k, logits.shape[-1])).values[:, -1:]  # (B, 1)
        logits = logits.masked_fill(logits < kth_largest, -torch.inf)
    probabilities = logits.softmax(-1)
    if sampling.top_p is not None:
        ranked, token_ids = probabilities.sort(descending=True)
        more_likely = ranked.cumsum(-1) - ranked  # total probability of the tokens ranked above
        ranked[more_likely >= sampling.top_p] = 0
        probabilities = torch.zeros_like(probabilities).scatter(-1, token_ids, ranked)
        probabilities /= probabilities.sum(-1, keepdim=True)
    return probabilities


def draw(probabilities: Float[Tensor, "B V"], rng: torch.Generator) -> Int[Tensor, "B 1"]:
    """Draw one id per row by inverting the cumulative distribution: (B, V) -> (B, 1).

    It needs one random number per row; torch.multinomial draws one per vocabulary entry.
    """
    cumulative = probabilities.cumsum(-1)
    total = cumulative[:, -1:]  # (B, 1), 1 up to rounding
    u = torch.rand(total.shape, generator=rng, device=probabilities.device) * total
    # Rounding can make u equal to the total; keep it below, or we return an impossible token.
    u = u.minimum(total.nextafter(total.new_zeros(())))
    return torch.searchsorted(cumulative, u, right=True)


@torch.no_grad()
def generate(
    net: GPT, tokens: Int[Tensor, "B T"], max_new_tokens: int, sampling: Sampling, seed: int
) -> Int[Tensor, "B T+{max_new_tokens}"]:
    """Append max_new_tokens to each sequence: (B, T) ids -> (B, T + max_new_tokens) ids.

    The network sees the last block_size tokens. The result depends on the seed alone, and no
    global random state changes.
    """
    rng = torch.Generator(tokens.device).manual_seed(seed)
    block_size = net.config.block_size
    was_training = net.training
    net.eval()
    caches: list[KeyValueCache] | None = net.empty_caches(tokens.shape[0])
    uncached = tokens[:, -block_size:]  # the next step's input: tokens whose keys are not cached
    # (C, V). Multiplying a few rows by a contiguous transpose is four times as fast on CPU.
    head_weight = net.head.weight.T.contiguous()
    # The length changes with every token; stay eager to avoid recompiling.
    with torch.compiler.set_stance("force_eager"):
        for _ in range(max_new_tokens):
            logits = net.hidden(uncached, caches)[:, -1] @ head_weight  # (B, V)
            if net.head.bias is not None:
                logits += net.head.bias
            if sampling.greedy:
                new_tokens = logits.argmax(-1, keepdim=True)  # (B, 1)
            else:
                new_tokens = draw(next_token_probabilities(logits, sampling), rng)
            tokens = torch.cat([tokens, new_tokens], dim=1)
            uncached = new_tokens
            if tokens.shape[1] > block_size:
                # The window slides, so every token's position changes and no cached key is valid.
                caches, uncached = None, tokens[:, -block_size:]
    net.train(was_training)
    return tokens
