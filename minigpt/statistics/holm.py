"""Holm's correction: how sure one may be of each of several comparisons made at once."""

import math
from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Each p-value corrected for all of them (Holm, 1979); NaN stays, and is not counted.

    Among comparisons without a difference, the chance that any corrected value is below a level
    is at most that level, however they depend on each other.
    """
    counted = sorted((p, i) for i, p in enumerate(p_values) if not math.isnan(p))
    corrected = [math.nan] * len(p_values)
    largest = 0.0
    for rank, (p, i) in enumerate(counted):
        largest = max(largest, min(1.0, p * (len(counted) - rank)))
        corrected[i] = largest
    return corrected
