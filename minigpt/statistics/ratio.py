"""A ratio of sums over clusters, and how far chance moves it."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Ratio:
    """A ratio of two sums over clusters, and its standard error."""

    value: float  # NaN where the denominators sum to 0
    stderr: float  # NaN with fewer than two clusters


def influence(numerators: ArrayLike, denominators: ArrayLike) -> NDArray[np.float64]:
    """(N): how much each cluster adds to the ratio of the sums, to first order; they sum to 0."""
    y, x = np.asarray(numerators, np.float64), np.asarray(denominators, np.float64)
    return (y - y.sum() / x.sum() * x) / x.sum()


def ratio_of_sums(numerators: ArrayLike, denominators: ArrayLike) -> Ratio:
    """The sum of (N) numerators over that of (N) denominators, one of each for a cluster.

    The standard error is that of the linearised ratio estimator (Cochran, Sampling Techniques,
    1977, section 6.4): the clusters are a sample, and within one anything may depend on anything.
    """
    y, x = np.asarray(numerators, np.float64), np.asarray(denominators, np.float64)
    total = float(x.sum())
    if not total:
        return Ratio(math.nan, math.nan)
    value = float(y.sum()) / total
    count = len(x)
    if count < 2:
        return Ratio(value, math.nan)
    squares = float(np.square(influence(y, x)).sum())
    return Ratio(value, math.sqrt(count / (count - 1) * squares))
