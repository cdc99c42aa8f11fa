"""The best network size for a budget, by a scaling law.

A budget is an amount of anything that a token costs: operations, or seconds of a machine.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from minigpt.statistics.repeated_tokens import effective_tokens
from minigpt.statistics.scaling_law import ScalingLaw

ROOM = 1000.0  # how many times smaller or larger than the runs a size may be
GRID = 400

Values = Float[ndarray, "K"]


@dataclass(frozen=True)
class TokenCost:
    """What a token costs at some sizes, in rising order; between them by straight lines in logs.

    Below the smallest and above the largest the cost is proportional to the size.
    """

    sizes: tuple[float, ...]
    costs: tuple[float, ...]

    def at(self, sizes: Values) -> Values:
        inside = np.clip(sizes, self.sizes[0], self.sizes[-1])
        known = np.interp(np.log(inside), np.log(self.sizes), np.log(self.costs))
        return np.exp(known) * sizes / inside


@dataclass(frozen=True)
class Allocation:
    """How a budget is spent best."""

    size: float
    tokens: float
    loss: float  # that the law predicts
    passes: float  # over the training text


def best_allocation(law: ScalingLaw, cost: TokenCost, budget: float, unique: float) -> Allocation:
    """The size and tokens of the lowest loss that a budget pays for.

    unique: tokens of the training text; what goes beyond them is worth less
    (minigpt/statistics/repeated_tokens.py).
    """
    low, high = np.log(cost.sizes[0] / ROOM), np.log(cost.sizes[-1] * ROOM)
    for _ in range(3):  # each time as fine as two points of the grid before
        grid = np.linspace(low, high, GRID)
        losses = iso_budget(law, cost, budget, unique, np.exp(grid))
        best = int(losses.argmin())
        low, high = grid[max(0, best - 1)], grid[min(GRID - 1, best + 1)]
    size = float(np.exp(grid[best]))
    tokens = budget / float(cost.at(np.array(size)))
    return Allocation(size, tokens, float(losses[best]), tokens / unique)


def iso_budget(
    law: ScalingLaw, cost: TokenCost, budget: float, unique: float, sizes: Values
) -> Values:
    """The loss of each size where the whole budget is spent on it."""
    tokens = budget / cost.at(sizes)
    return law.loss(sizes, effective_tokens(tokens, unique))
