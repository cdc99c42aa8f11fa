"""How well a score ranks one group above another: AUC, its error, and rates at a threshold.

Shapes: P positives, N negatives.
"""

import math

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.floating]
Numbers = NDArray[np.integer]


def auc(positives: Values, negatives: Values) -> float:
    """(P), (N) scores -> the share of pairs in which the positive is higher; a tie is half a pair.

    The area under the ROC curve (Mann and Whitney, 1947).
    """
    ranks = _ranks(np.concatenate([positives, negatives]))
    P, N = len(positives), len(negatives)
    return float((ranks[:P].sum() - P * (P + 1) / 2) / (P * N))


def auc_error(
    positives: Values, negatives: Values, positive_clusters: Numbers, negative_clusters: Numbers
) -> float | None:
    """The standard error of an AUC whose scores are alike within clusters (Obuchowski, 1997).

    (P), (N) scores and the number of the cluster that each belongs to, as a document; no cluster
    has scores of both kinds. None where the scores of a kind are all of one cluster.
    """
    above = _shares_below(positives, negatives)  # (P) of each positive, negatives below it
    below = 1 - _shares_below(negatives, positives)  # (N) of each negative, positives above it
    area = above.mean()
    variances = [
        _variance_of_mean(above - area, positive_clusters),
        _variance_of_mean(below - area, negative_clusters),
    ]
    return None if None in variances else math.sqrt(sum(filter(None, variances)))


def _shares_below(values: Values, others: Values) -> NDArray[np.float64]:
    """(A), (B) -> (A) the share of the others that are below each value; a tie is half."""
    in_order = np.sort(others)
    lower = np.searchsorted(in_order, values, "left")
    return (lower + np.searchsorted(in_order, values, "right")) / (2 * len(others))


def _variance_of_mean(deviations: Values, clusters: Numbers) -> float | None:
    """Of the mean of values that are alike within clusters; None with one cluster."""
    _, place = np.unique(clusters, return_inverse=True)
    sums = np.bincount(place, deviations)
    if len(sums) < 2:
        return None
    return float(len(sums) / (len(sums) - 1) * (sums**2).sum() / len(deviations) ** 2)


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
