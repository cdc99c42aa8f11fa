"""How well a score ranks one group above another: AUC, its error, and rates at a threshold.

Shapes: P positives, N negatives.
"""

import math

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.floating]


def auc(positives: Values, negatives: Values) -> float:
    """(P), (N) scores -> the share of pairs in which the positive is higher; a tie is half a pair.

    The area under the ROC curve (Mann and Whitney, 1947).
    """
    ranks = _ranks(np.concatenate([positives, negatives]))
    P, N = len(positives), len(negatives)
    return float((ranks[:P].sum() - P * (P + 1) / 2) / (P * N))


def auc_error(area: float, positives: int, negatives: int) -> float:
    """The standard error of an AUC from so many independent scores (Hanley and McNeil, 1982)."""
    both_above = area / (2 - area)  # two positives are above a negative
    both_below = 2 * area**2 / (1 + area)  # two negatives are below a positive
    variance = (
        area * (1 - area)
        + (positives - 1) * (both_above - area**2)
        + (negatives - 1) * (both_below - area**2)
    ) / (positives * negatives)
    return math.sqrt(max(0.0, variance))


def true_positive_rate(positives: Values, negatives: Values, false_positive_rate: float) -> float:
    """(P), (N) -> the largest share of positives that a threshold finds at a false-positive rate.

    With fewer than 1 / false_positive_rate negatives, no negative may be above the threshold.
    """
    allowed = math.floor(false_positive_rate * len(negatives) + 1e-9)
    highest_first = np.sort(negatives)[::-1]
    if allowed >= len(highest_first):
        return 1.0
    return float((positives > highest_first[allowed]).mean())


def roc(positives: Values, negatives: Values) -> tuple[list[float], list[float]]:
    """(P), (N) -> false-positive and true-positive rates of every threshold, from 0 to 1."""
    thresholds = np.unique(np.concatenate([positives, negatives]))[::-1]
    false = [0.0, *((negatives >= t).mean().item() for t in thresholds)]
    true = [0.0, *((positives >= t).mean().item() for t in thresholds)]
    return false, true


def _ranks(values: Values) -> NDArray[np.float64]:
    """(N) -> ranks from 1; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place]
