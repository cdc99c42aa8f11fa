"""The choice of the next token: settings, and pure functions of logits.

Shapes: B sequences, V vocabulary.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from minigpt.errors import UserError, check_types


@dataclass(frozen=True)
class Sampling:
    """How to choose the next token.

    Greedy takes the most likely one after the repetition penalty and ignores the other keys.
    Raises UserError, naming the key, on a temperature or repetition_penalty outside [0.001, 1000],
    top_k below 1, or top_p or min_p outside (0, 1].
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    greedy: bool = False
    min_p: float | None = None
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        check_types("sampling", self)
        for key, way_out in (("temperature", "use greedy"), ("repetition_penalty", "leave it out")):
            if not 1e-3 <= getattr(self, key) <= 1e3:
                raise UserError(
                    f"{key} must lie in [0.001, 1000], got {getattr(self, key)}; or {way_out}"
                )
        if self.top_k is not None and self.top_k < 1:
            raise UserError(f"top_k must be at least 1, got {self.top_k}")
        for key in ("top_p", "min_p"):
            value = getattr(self, key)
            if value is not None and not 0 < value <= 1:
                raise UserError(f"{key} must lie in (0, 1], got {value}")


def penalise_repetition(
    logits: Float[Tensor, "B V"], seen: Bool[Tensor, "B V"], penalty: float
) -> Float[Tensor, "B V"]:
    """Make the tokens that were seen less likely: (B, V) logits -> (B, V) logits.

    A positive logit is divided by the penalty (Keskar et al., 2019); a negative one is multiplied,
    since dividing it would make the token more likely.
    """
    penalised = torch.where(logits > 0, logits / penalty, logits * penalty)
    return torch.where(seen, penalised, logits)


def next_token_probabilities(
    logits: Float[Tensor, "B V"], sampling: Sampling
) -> Float[Tensor, "B V"]:
    """Apply temperature, then top-k, top-p and min-p; the other keys are ignored.

    (B, V) logits -> (B, V) probabilities. Top-k keeps the k most likely tokens (Fan et al., 2018).
    Top-p keeps the smallest set of most likely tokens whose total probability reaches p (Holtzman
    et al., 2020). Min-p keeps the tokens at least p times as likely as the likeliest (Nguyen et
    al., 2024).
    """
    logits = logits.float() / sampling.temperature
    if sampling.top_k is not None:
        kth_largest = logits.topk(min(sampling.top_k, logits.shape[-1])).values[:, -1:]  # (B, 1)
        logits = logits.masked_fill(logits < kth_largest, -torch.inf)
    probabilities = logits.softmax(-1)
    if sampling.top_p is not None:
        ranked, token_ids = probabilities.sort(descending=True)
        more_likely = ranked.cumsum(-1) - ranked  # total probability of the tokens ranked above
        left_out = more_likely >= sampling.top_p
        left_out[:, 0] = False  # the likeliest stays, however small top_p is
        ranked[left_out] = 0
        probabilities = torch.zeros_like(probabilities).scatter(-1, token_ids, ranked)
        probabilities /= probabilities.sum(-1, keepdim=True)
    if sampling.min_p is not None:
        least = sampling.min_p * probabilities.amax(-1, keepdim=True)  # (B, 1)
        probabilities = probabilities.masked_fill(probabilities < least, 0)
        probabilities /= probabilities.sum(-1, keepdim=True)
    return probabilities


def draw(probabilities: Float[Tensor, "B V"], uniform: Float[Tensor, "B 1"]) -> Int[Tensor, "B 1"]:
    """The ids at which the cumulative distribution passes a number from [0, 1): (B, V) -> (B, 1).

    It needs one random number per row; torch.multinomial draws one per vocabulary entry.
    """
    cumulative = probabilities.cumsum(-1)
    total = cumulative[:, -1:]  # (B, 1), 1 up to rounding
    # Rounding can reach the total; stay below, or we return an impossible token.
    u = (uniform * total).minimum(total.nextafter(total.new_zeros(())))
    return torch.searchsorted(cumulative, u, right=True)
