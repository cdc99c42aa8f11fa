"""AUC and rates at a threshold are those of comparing every pair and trying every threshold."""

import numpy as np
import pytest

from minigpt.statistics.ranking import auc, auc_error, roc, true_positive_rate


def groups(seed, decimals=1):
    """Scores with many ties."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 30, 2)
    return rng.normal(0.5, 1, sizes[0]).round(decimals), rng.normal(0, 1, sizes[1]).round(decimals)


@pytest.mark.parametrize("seed", range(8))
def test_auc_is_the_share_of_pairs_in_which_the_positive_is_higher(seed):
    positives, negatives = groups(seed)
    pairs = [(p > n) + (p == n) / 2 for p in positives for n in negatives]
    assert auc(positives, negatives) == pytest.approx(sum(pairs) / len(pairs), abs=1e-12)


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_the_true_positive_rate_is_that_of_the_best_allowed_threshold(seed, rate):
    positives, negatives = groups(seed)
    thresholds = [*positives, *negatives, np.inf]
    allowed = [t for t in thresholds if np.mean(negatives >= t) <= rate]
    best = max(np.mean(positives >= t) for t in allowed)
    assert true_positive_rate(positives, negatives, rate) == pytest.approx(best)


def test_an_error_of_an_auc_is_that_of_delong_where_each_score_is_a_cluster_of_its_own():
    # DeLong, DeLong and Clarke-Pearson, 1988, written out for every pair.
    positives, negatives = groups(5)
    pairs = np.array([[(p > n) + (p == n) / 2 for n in negatives] for p in positives])
    expected = pairs.mean(1).var(ddof=1) / len(positives) + pairs.mean(0).var(ddof=1) / len(
        negatives
    )
    error = auc_error(positives, negatives, np.arange(len(positives)), np.arange(len(negatives)))
    assert error == pytest.approx(expected**0.5)


def test_scores_that_are_repeated_within_a_cluster_add_no_certainty():
    positives, negatives = groups(5)
    alone = np.arange(len(positives)), np.arange(len(negatives))
    once = auc_error(positives, negatives, *alone)
    thrice = [np.repeat(values, 3) for values in (positives, negatives, *alone)]
    assert auc_error(*thrice) == pytest.approx(once)
    assert auc_error(positives, negatives, alone[0], np.zeros(len(negatives), int)) is None


def test_a_certain_ranking_has_no_error():
    assert auc_error(np.array([3.0, 4.0]), np.array([1.0, 2.0]), *[np.arange(2)] * 2) == 0.0


def test_a_roc_curve_has_the_auc_below_it():
    positives, negatives = groups(3)
    false, true = roc(positives, negatives)
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(true, false) == pytest.approx(auc(positives, negatives))
