"""Intervals of shares are those of the papers' own examples."""

import pytest

from minigpt.statistics.proportions import difference_interval, wilson_interval


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    # Newcombe, Statistics in Medicine 17 (1998), 857-872, table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611),
     (1, 29, 0.0061, 0.1718)],
)  # fmt: skip
def test_the_interval_of_a_share_is_wilsons(hits, trials, low, high):
    assert wilson_interval(hits, trials) == pytest.approx((low, high), abs=5e-5)


def test_a_share_of_none_or_all_stays_within_bounds():
    low, high = wilson_interval(0, 10)
    assert (low, high) == (0.0, pytest.approx(0.2775, abs=5e-5))
    low, high = wilson_interval(10, 10)
    assert (low, high) == pytest.approx((0.7225, 1.0), abs=5e-5)
    assert high <= 1.0


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    # Newcombe, Statistics in Medicine 17 (1998), 873-890, table II, method 10.
    [((56, 70, 48, 80), 0.0524, 0.3339), ((9, 10, 3, 10), 0.1705, 0.8090),
     ((10, 10, 0, 10), 0.6075, 1.0), ((0, 10, 0, 20), -0.1611, 0.2775)],
)  # fmt: skip
def test_the_interval_of_a_difference_is_newcombes(counts, low, high):
    assert difference_interval(*counts) == pytest.approx((low, high), abs=5e-5)
