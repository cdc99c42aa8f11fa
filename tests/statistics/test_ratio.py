"""The standard error of a ratio of sums agrees with what other ways of reckoning give."""

import math
import statistics

import numpy as np
import pytest

from minigpt.statistics.ratio import ratio_of_sums


def test_three_clusters_by_hand():
    ratio = ratio_of_sums([2, 9, 4], [1, 3, 1])
    # 15 / 5 = 3; residuals -1, 0, 1; sqrt(3 / 2 * 2) / 5
    assert ratio.value == 3
    assert ratio.stderr == pytest.approx(math.sqrt(3) / 5)


def test_of_clusters_of_one_size_it_is_the_error_of_the_mean():
    nats = [3.0, 4.5, 2.5, 5.0, 4.0]
    ratio = ratio_of_sums([10 * n for n in nats], [10] * 5)
    assert ratio.value == pytest.approx(statistics.fmean(nats))
    assert ratio.stderr == pytest.approx(statistics.stdev(nats) / math.sqrt(5))


def test_it_is_the_cluster_robust_error_of_the_mean_of_all_members():
    """Liang and Zeger's sandwich for a regression on a constant, member by member."""
    rng = np.random.default_rng(1)
    sizes = rng.integers(1, 30, 12)
    cluster = np.repeat(np.arange(12), sizes)
    member = rng.normal(size=12)[cluster] + rng.normal(size=len(cluster))
    residual = member - member.mean()
    bread = 1 / len(member)
    meat = sum(residual[cluster == c].sum() ** 2 for c in range(12))
    sandwich = math.sqrt(12 / 11 * bread * meat * bread)
    ratio = ratio_of_sums(np.bincount(cluster, member), sizes)
    assert ratio.value == pytest.approx(member.mean())
    assert ratio.stderr == pytest.approx(sandwich)
    independent = member.std(ddof=1) / math.sqrt(len(member))
    assert ratio.stderr > 1.5 * independent


def test_a_bootstrap_over_clusters_spreads_as_much():
    rng = np.random.default_rng(2)
    x = rng.integers(50, 500, 400).astype(float)
    y = x * rng.normal(4, 0.5, 400)
    draws = rng.integers(0, 400, (4000, 400))
    bootstrap = (y[draws].sum(1) / x[draws].sum(1)).std()
    assert ratio_of_sums(y, x).stderr == pytest.approx(bootstrap, rel=0.05)


def test_one_cluster_has_no_error_and_none_has_no_value():
    assert ratio_of_sums([6], [2]).value == 3
    assert math.isnan(ratio_of_sums([6], [2]).stderr)
    assert math.isnan(ratio_of_sums([], []).value)
    assert math.isnan(ratio_of_sums([0], [0]).value)
