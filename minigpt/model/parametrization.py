"""How initial weights, learning rates and scales follow from the width: the standard way, or μP.

With n the width, m = n / base_width, d the head width and d0 that of the base:

| | standard | mup |
|---|---|---|
| tables (embeddings), a tied head included: std, learning rate | 0.02, 1 | 0.02, 1 |
| the blocks' matrices: std, learning rate | 0.02, 1 | 0.02 / sqrt(m), 1 / m |
| head: std, learning rate | 0.02, 1 | 0.02, 1 |
| hidden states before the head, times | 1 | 1 / m |
| vectors (biases, gains): learning rate | 1 | 1 |
| attention scores, divided by | sqrt(d) | d / sqrt(d0) |

It is table 8 of Tensor Programs V (Yang et al., 2022) for Adam, normalised so that at the base
width both columns are the same network, trained the same way. That form keeps the head's own
weights independent of the width, so a tied head needs no row of its own.

An update of Muon has the size of AdamW's in each weight, but not AdamW's direction: its largest
singular value grows as sqrt(m), not as m. So matrices that Muon trains take 1 / sqrt(m) instead of
1 / m, and a head takes sqrt(m) (after Yang et al., 2023, A Spectral Condition).

Either algorithm shrinks a weight by its learning rate times the weight decay. Where the rate is
multiplied, the weight decay is divided by the same, so that this product does not depend on the
width: otherwise wide networks would hardly be decayed, and the best rate would move (Wang and
Aitchison, 2024; Kosson et al., 2025). It is the independent weight decay of Wortsman et al. (2023).
"""

import math
from dataclasses import dataclass

PARAMETRIZATIONS = ("standard", "mup")
BASE_STD = 0.02  # of GPT-2, at every width


@dataclass(frozen=True)
class Parametrization:
    """A column of the table, for one network. Kinds are those of training/parameter_groups.py."""

    name: str  # one of PARAMETRIZATIONS
    width: int
    base_width: int
    head_width: int
    base_head_width: float

    @property
    def growth(self) -> float:
        """m: how many times as wide as the base; 1 under standard."""
        return self.width / self.base_width if self.name == "mup" else 1.0

    def init_std(self, kind: str) -> float:
        """Standard deviation of the initial weights of a kind of parameter."""
        return BASE_STD / math.sqrt(self.growth) if kind == "matrices" else BASE_STD

    def lr_ratio(self, kind: str, algorithm: str) -> float:
        """The learning rate of a kind of parameter, as a multiple of the base's.

        algorithm: adamw or muon. The weight decay is divided by it.
        """
        exponents = {"adamw": {"matrices": -1.0}, "muon": {"matrices": -0.5, "head": 0.5}}
        return float(self.growth ** exponents[algorithm].get(kind, 0.0))

    @property
    def output_multiplier(self) -> float:
        """What the hidden states are multiplied by before the head."""
        return 1 / self.growth

    @property
    def score_divisor(self) -> float:
        """What the products of queries and keys are divided by."""
        divisor = math.sqrt(self.head_width)
        if self.name == "mup":
            divisor *= math.sqrt(self.head_width / self.base_head_width)
        return divisor


STANDARD = Parametrization("standard", width=1, base_width=1, head_width=1, base_head_width=1)
