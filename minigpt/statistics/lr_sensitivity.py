"""How a loss depends on the learning rate: the best rate, and what it costs to miss it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class BestRate:
    """The best of the learning rates that were tried."""

    rate: float
    loss: float
    at_edge: bool  # it is the lowest or the highest of them: the optimum may lie beyond
    between: float  # the lowest point of a parabola in log(rate) through it and its neighbours


def best_rate(losses: Mapping[float, float]) -> BestRate:
    """Learning rate -> loss, all finite. `between` is the best rate itself at an edge."""
    rates = sorted(losses)
    best = min(rates, key=lambda rate: losses[rate])
    at = rates.index(best)
    at_edge = at in (0, len(rates) - 1)
    between = best
    if not at_edge:
        around = rates[at - 1 : at + 2]
        between = math.exp(_lowest([math.log(r) for r in around], [losses[r] for r in around]))
    return BestRate(best, losses[best], at_edge, between)


def _lowest(x: list[float], y: list[float]) -> float:
    """Where the parabola through three points is lowest; the middle one is not above the others."""
    left, right = (y[0] - y[1]) / (x[1] - x[0]), (y[2] - y[1]) / (x[2] - x[1])
    if left + right == 0:
        return x[1]
    # In the middle of the left interval the slope is -left, of the right one right.
    a, b = (x[0] + x[1]) / 2, (x[1] + x[2]) / 2
    return a + (b - a) * left / (left + right)


def lr_sensitivity(losses: Mapping[float, float], initial_loss: float) -> float:
    """Mean over the rates of min(loss, initial loss), less the best loss (Wortsman et al., 2023).

    losses: learning rate -> loss, at rates that are evenly spaced in their logarithm; one that
    diverged, NaN or infinite, counts as the initial loss. 0: every rate is as good as the best.
    """
    capped = [
        min(loss, initial_loss) if math.isfinite(loss) else initial_loss for loss in losses.values()
    ]
    return sum(capped) / len(capped) - min(capped)
