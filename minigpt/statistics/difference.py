"""The difference between settings, and how far chance alone would move it.

Chance has two sources. Another seed gives another network, and other documents give another figure.
Both are counted: the squared error is that over seeds plus that over documents, less what both
count (two-way clustering; Cameron, Gelbach and Miller, 2011). The error over documents is paired:
that of the difference on each document. With a few seeds a normal distribution, or a bootstrap over
them, promises too much: the interval is Student's, with the degrees of freedom of the two parts
together (Satterthwaite, 1946). Shapes: K runs with different seeds, D documents.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from minigpt.statistics.student import quantile, two_sided_p

LEVEL = 0.05  # chance to call equal settings different
POWER = 0.8  # chance to see the least detectable difference


@dataclass(frozen=True)
class Repeats:
    """A figure of runs that differ in their seed alone."""

    values: Float[ndarray, "K"]
    # How much each document adds to a value (ratio.influence); None where that is not known.
    influence: Float[ndarray, "K D"] | None = None

    @property
    def mean(self) -> float:
        return float(self.values.mean())


@dataclass(frozen=True)
class Difference:
    """A difference of means, and what may be said of it."""

    value: float
    stderr: float  # NaN where there is neither a second seed nor a second document
    freedom: float  # degrees of freedom of the error
    fewest_seeds: int  # of the settings that are compared
    most_seeds: int
    covers_seeds: bool  # False: every setting has one seed, and the error is of documents alone
    documents: int  # 0: the error is of seeds alone

    @property
    def p(self) -> float:
        """The chance of so large a difference, or a larger one, where there is none; or NaN."""
        if math.isnan(self.stderr):
            return math.nan
        if not self.stderr:
            return 0.0 if self.value else 1.0
        return two_sided_p(self.value / self.stderr, self.freedom)

    @cached_property
    def margin(self) -> float:
        """Half the width of the 95% interval; NaN without an error."""
        if math.isnan(self.stderr):
            return math.nan
        return quantile(1 - LEVEL / 2, self.freedom) * self.stderr

    @cached_property
    def detectable(self) -> float:
        """The least difference that would be seen in 80% of such comparisons, at a level of 5%."""
        if math.isnan(self.stderr):
            return math.nan
        return self.margin + quantile(POWER, self.freedom) * self.stderr


def mean_difference(pairs: Sequence[tuple[Repeats, Repeats]]) -> Difference:
    """The second less the first, mean over pairs; every setting stands in one pair.

    Two settings that are the same have the same spread over seeds, so that it is pooled over all
    that are compared. A setting with one seed borrows it from the others.
    """
    sides = [(sign / len(pairs), side) for pair in pairs
             for sign, side in zip((-1, 1), pair, strict=True)]  # fmt: skip
    value = sum(weight * side.mean for weight, side in sides)
    counts = [len(side.values) for _, side in sides]
    seed_freedom = sum(counts) - len(counts)
    scale = sum(weight**2 / len(side.values) for weight, side in sides)
    over_seeds = 0.0
    if seed_freedom:
        squares = sum(_squares(side.values) for _, side in sides)
        over_seeds = scale * float(squares) / seed_freedom
    documents = _documents([side for _, side in sides])
    over_documents = 0.0
    if documents:
        over_documents = _over_documents(sides, scale, seed_freedom)
    variance = over_seeds + over_documents
    known = bool(seed_freedom or documents)
    return Difference(
        value=value,
        stderr=math.sqrt(variance) if known else math.nan,
        freedom=_freedom((over_seeds, seed_freedom), (over_documents, documents - 1)),
        fewest_seeds=min(counts),
        most_seeds=max(counts),
        covers_seeds=seed_freedom > 0,
        documents=documents,
    )


def _documents(sides: Sequence[Repeats]) -> int:
    """How many documents the difference is paired over; 0 for fewer than two, or where unknown."""
    sizes = {0 if side.influence is None else side.influence.shape[1] for side in sides}
    assert len(sizes) == 1 or 0 in sizes, "the settings have other documents"
    size = min(sizes)
    return size if size > 1 else 0


def _over_documents(
    sides: Sequence[tuple[float, Repeats]], scale: float, seed_freedom: int
) -> float:
    """The variance over documents beyond what the variance over seeds counts already.

    How a seed suits a document changes the figure of that seed too. The mean over seeds still has
    1/K of it in every document, which the spread within the settings tells.
    """
    influences = [(weight, side.influence) for weight, side in sides if side.influence is not None]
    paired = sum(weight * influence.mean(0) for weight, influence in influences)  # (D)
    squares = float(np.square(paired).sum())
    if seed_freedom:
        within = sum(float(_squares(influence).sum()) for _, influence in influences)
        squares = max(0.0, squares - scale * within / seed_freedom)
    count = influences[0][1].shape[1]
    return count / (count - 1) * squares


def _squares(values: Float[ndarray, "K ..."]) -> Float[ndarray, "..."]:
    """Squared distances from the mean over seeds, summed."""
    return np.square(values - values.mean(0)).sum(0)


def _freedom(*parts: tuple[float, int]) -> float:
    """Degrees of freedom of a sum of variances (Satterthwaite); the parts' own where one is 0."""
    total = sum(variance for variance, _ in parts)
    if not total:
        return float(max(1, *(freedom for _, freedom in parts)))
    return total**2 / sum(variance**2 / freedom for variance, freedom in parts if variance)
