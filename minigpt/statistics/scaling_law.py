"""Loss as a function of network size and training tokens.

Hoffmann et al., 2022, "Training Compute-Optimal Large Language Models" (arXiv:2203.15556),
approach 3: L(N, D) = E + A / N^alpha + B / D^beta.

Shapes: R runs.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Float
from numpy import ndarray

Values = Float[ndarray, "R"]


@dataclass(frozen=True)
class ScalingLaw:
    """E + A / N^alpha + B / D^beta nats a token, after D tokens of a network of size N."""

    E: float  # nats that no size and no amount of text takes away
    A: float
    alpha: float
    B: float
    beta: float

    def loss(self, sizes: Float[ndarray, "..."], tokens: Float[ndarray, "..."]) -> ndarray:
        """Nats a token for each size and number of tokens."""
        with np.errstate(over="ignore"):
            return self.E + self.A * sizes**-self.alpha + self.B * tokens**-self.beta

    @property
    def size_exponent(self) -> float:
        """The a of N ~ C^a: how the best size grows with compute, where C is 6 N D."""
        return self.beta / (self.alpha + self.beta)

    @property
    def falls(self) -> bool:
        """True if the loss falls with size and with tokens, as a law has to."""
        return self.alpha > 0 and self.beta > 0


@dataclass(frozen=True)
class Runs:
    """The figures of finished runs that a law is fitted to."""

    sizes: Values
    tokens: Values  # effective ones, where text was repeated
    losses: Values  # held-out, nats a token

    def __getitem__(self, chosen: ndarray) -> Self:
        return type(self)(self.sizes[chosen], self.tokens[chosen], self.losses[chosen])
