"""Intervals of shares, from how many of how many."""

import math

NORMAL_95 = 1.959964  # the standard normal quantile of a two-sided 95% interval


def wilson_interval(hits: int, trials: int) -> tuple[float, float]:
    """The 95% interval of a share (Wilson, 1927), which holds for shares near 0 and 1 as well."""
    share, z2 = hits / trials, NORMAL_95**2
    center = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = share * (1 - share) / trials + z2 / (4 * trials**2)
    half = NORMAL_95 * math.sqrt(half) / (1 + z2 / trials)
    return max(0.0, center - half), min(1.0, center + half)


def difference_interval(
    hits: int, trials: int, other_hits: int, other_trials: int
) -> tuple[float, float]:
    """The 95% interval of a share minus another, from independent trials (Newcombe, 1998)."""
    share, other = hits / trials, other_hits / other_trials
    low, high = wilson_interval(hits, trials)
    other_low, other_high = wilson_interval(other_hits, other_trials)
    below = math.hypot(share - low, other_high - other)
    above = math.hypot(high - share, other - other_low)
    return share - other - below, share - other + above
