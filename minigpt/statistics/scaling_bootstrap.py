"""How far chance moves a scaling law: laws of resampled runs, and intervals from them.

Shapes: S resamples, R runs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from minigpt.statistics.scaling_fit import fit_resamples
from minigpt.statistics.scaling_law import Runs, ScalingLaw

LEAST_SIZES = 3
LEAST_BUDGETS = 3
LEAST_RUNS = 6  # of different size or tokens: one more than the law has parameters
APART = 1.05  # a smaller factor between two sizes or numbers of tokens is no difference
TRIES = 1000  # of a resample that leaves enough


@dataclass(frozen=True)
class Interval:
    """The middle 95% of what resampling gives."""

    low: float
    high: float


def count_apart(values: Float[ndarray, "R"]) -> int:
    """How many values are more than APART times the one below."""
    logs = np.sort(np.log(values))
    return 1 + int((np.diff(logs) > np.log(APART)).sum()) if len(logs) else 0


def is_enough(runs: Runs) -> bool:
    """True if the five parameters of a law can be told apart."""
    points = set(zip(runs.sizes.tolist(), runs.tokens.tolist(), strict=True))
    return (
        count_apart(runs.sizes) >= LEAST_SIZES
        and count_apart(runs.tokens) >= LEAST_BUDGETS
        and len(points) >= LEAST_RUNS
    )


def bootstrap_laws(
    runs: Runs, seeds: Sequence[object], near: ScalingLaw, resamples: int, seed: int
) -> list[ScalingLaw]:
    """Laws of resamples of the runs.

    The seeds are drawn first and then, of each drawn seed, its runs: what the runs of a seed share,
    such as their order of batches, is chance too. With one seed only runs are drawn. A draw that
    leaves too few runs to fit is drawn again.
    seeds: of each run. near: the law of all runs. seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    groups = [np.flatnonzero([s == other for s in seeds]) for other in dict.fromkeys(seeds)]
    counts = np.stack([_drawn(runs, groups, rng) for _ in range(resamples)])
    return fit_resamples(runs, counts, near)


def _drawn(runs: Runs, groups: list[ndarray], rng: np.random.Generator) -> Float[ndarray, "R"]:
    """How often each run is in a resample."""
    for _ in range(TRIES):
        drawn = [groups[i] for i in rng.integers(len(groups), size=len(groups))]
        chosen = np.concatenate([rng.choice(group, len(group)) for group in drawn])
        if is_enough(runs[chosen]):
            break
    else:
        chosen = np.arange(len(runs.losses))
    return np.bincount(chosen, minlength=len(runs.losses)).astype(np.float64)


def interval(laws: Sequence[ScalingLaw], figure: Callable[[ScalingLaw], float]) -> Interval:
    """Where a figure lies in 95 of 100 resamples."""
    return middle([figure(law) for law in laws])


def middle(values: Sequence[float]) -> Interval:
    """The interval that leaves out 2.5% on each side."""
    low, high = np.quantile(values, [0.025, 0.975])
    return Interval(float(low), float(high))
