"""Spread over seeds: how much a figure varies between runs that differ only in their seed."""

import math
import statistics
from collections.abc import Sequence


def pooled_deviation(groups: Sequence[Sequence[float]]) -> float:
    """The standard deviation within groups, pooled over them; NaN without a group of two.

    Each group's variance is weighted by its degrees of freedom, its size minus one.
    """
    several = [group for group in groups if len(group) > 1]
    if not several:
        return math.nan
    freedom = sum(len(group) - 1 for group in several)
    squares = sum(statistics.variance(group) * (len(group) - 1) for group in several)
    return math.sqrt(squares / freedom)
