"""Intervals of shares, from how many of how many."""

import math

TWO_SIDED_95 = 1.959964  # standard normal quantiles: 2.5% lie above this one,
ONE_SIDED_95 = 1.644854  # and 5% above this one


def wilson_interval(hits: int, trials: int, z: float = TWO_SIDED_95) -> tuple[float, float]:
    """The interval of a share (Wilson, 1927), which holds for shares near 0 and 1 as well.

    z: with ONE_SIDED_95 each end alone holds with 95% certainty.
    """
    share, z2 = hits / trials, z**2
    center = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = share * (1 - share) / trials + z2 / (4 * trials**2)
    half = z * math.sqrt(half) / (1 + z2 / trials)
    return max(0.0, center - half), min(1.0, center + half)


def difference_interval(
    hits: int, trials: int, other_hits: int, other_trials: int, z: float = TWO_SIDED_95
) -> tuple[float, float]:
    """The interval of a share minus another, from independent trials (Newcombe, 1998)."""
    share, other = hits / trials, other_hits / other_trials
    low, high = wilson_interval(hits, trials, z)
    other_low, other_high = wilson_interval(other_hits, other_trials, z)
    below = math.hypot(share - low, other_high - other)
    above = math.hypot(high - share, other - other_low)
    return share - other - below, share - other + above
