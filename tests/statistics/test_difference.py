"""Differences of synthetic runs whose truth is known."""

import math

import numpy as np
import pytest

from minigpt.statistics.difference import Repeats, mean_difference
from minigpt.statistics.ratio import influence

DOCUMENTS = 60


def runs(rng, seeds, shift=0.0, seed_deviation=0.01, suits=0.0, deviation=0.05, sizes=None):
    """Runs on documents as hard as 4 nats a token; suits: deviation of the setting's fit to each.

    deviation: of a seed's fit to each document.
    """
    sizes = np.full(DOCUMENTS, 100.0) if sizes is None else sizes
    loss = (
        4.0
        + shift
        + suits * rng.normal(size=DOCUMENTS)
        + seed_deviation * rng.normal(size=(seeds, 1))
        + deviation * rng.normal(size=(seeds, DOCUMENTS))
    )
    nats = loss * sizes
    return Repeats(nats.sum(1) / sizes.sum(), np.stack([influence(row, sizes) for row in nats]))


def test_over_seeds_alone_it_is_students_test_of_two_means():
    difference = mean_difference([(Repeats(np.array([1.0, 3.0])), Repeats(np.array([4.0, 8.0])))])
    # Squares 2 + 8 on two degrees of freedom, times 1/2 + 1/2.
    assert difference.value == 4
    assert difference.stderr == pytest.approx(math.sqrt(5))
    assert (difference.freedom, difference.covers_seeds, difference.documents) == (2, True, 0)
    t = 4 / math.sqrt(5)
    assert difference.p == pytest.approx(1 - t / math.sqrt(2 + t * t))
    assert difference.margin == pytest.approx(4.30265 * math.sqrt(5), rel=1e-5)
    assert difference.detectable == pytest.approx((4.30265 + 1.06066) * math.sqrt(5), rel=1e-5)


def test_a_mean_over_pairs_has_the_error_of_that_mean():
    low, high = Repeats(np.array([1.0, 3.0])), Repeats(np.array([4.0, 8.0]))
    once, twice = mean_difference([(low, high)]), mean_difference([(low, high), (low, high)])
    assert twice.value == once.value
    assert twice.freedom == 2 * once.freedom
    assert twice.stderr == pytest.approx(once.stderr / math.sqrt(2))


def test_one_seed_is_paired_over_documents_and_says_that_seeds_are_not_covered():
    sizes = np.full(4, 10.0)
    easy, hard = np.array([10.0, 20, 30, 40]), np.array([12.0, 21, 33, 42])
    difference = mean_difference(
        [(Repeats(np.array([2.5]), influence(easy, sizes)[None]),
          Repeats(np.array([2.7]), influence(hard, sizes)[None]))]
    )  # fmt: skip
    paired = np.array([0.2, 0.1, 0.3, 0.2])
    assert difference.value == pytest.approx(0.2)
    assert difference.stderr == pytest.approx(paired.std(ddof=1) / 2)
    assert (difference.freedom, difference.documents) == (3, 4)
    assert not difference.covers_seeds


def test_nothing_is_said_of_one_seed_without_documents():
    difference = mean_difference([(Repeats(np.array([2.0])), Repeats(np.array([1.0])))])
    assert difference.value == -1
    assert all(map(math.isnan, (difference.p, difference.margin, difference.detectable)))
    one_document = np.zeros((1, 1))
    pair = Repeats(np.array([2.0]), one_document), Repeats(np.array([1.0]), one_document)
    assert math.isnan(mean_difference([pair]).p)


def test_a_setting_with_one_seed_borrows_the_spread_of_the_other():
    difference = mean_difference([(Repeats(np.array([1.0, 2.0, 3.0])), Repeats(np.array([9.0])))])
    assert difference.stderr == pytest.approx(math.sqrt(1 / 3 + 1))
    assert (difference.fewest_seeds, difference.most_seeds, difference.freedom) == (1, 3, 2)


def test_equal_figures_are_not_different_and_without_any_spread_all_others_are():
    same = Repeats(np.array([2.0, 2.0]))
    assert mean_difference([(same, same)]).p == 1
    assert mean_difference([(same, Repeats(np.array([2.5, 2.5])))]).p == 0


@pytest.mark.parametrize(
    ("seed_deviation", "suits", "deviation"),
    [(0.01, 0.0, 0.0), (0.0, 0.2, 0.0), (0.0, 0.0, 0.2), (0.01, 0.1, 0.1)],
)
def test_each_source_of_chance_is_counted_once(seed_deviation, suits, deviation):
    rng = np.random.default_rng(1)
    sizes = rng.integers(20, 300, DOCUMENTS).astype(float)
    found = [
        mean_difference([tuple(runs(rng, 3, 0.0, seed_deviation, suits, deviation, sizes)
                               for _ in range(2))])
        for _ in range(800)
    ]  # fmt: skip
    truth = np.std([difference.value for difference in found])
    expected = math.sqrt(np.mean([difference.stderr**2 for difference in found]))
    assert expected == pytest.approx(truth, rel=0.08)


def test_equal_settings_are_called_different_in_five_of_a_hundred_pairs():
    rng = np.random.default_rng(2)
    p = [mean_difference([(runs(rng, 3), runs(rng, 3))]).p for _ in range(2000)]
    assert 0.035 < np.mean(np.array(p) < 0.05) < 0.065


def test_intervals_hold_the_truth_and_the_least_difference_is_mostly_seen():
    rng = np.random.default_rng(3)
    # Its error: 0.01 and 0.05 / sqrt(60) over seeds, times sqrt(2 / 3), and 0.02 / sqrt(60).
    error = math.sqrt((0.01**2 + 0.05**2 / 60) * 2 / 3 + 0.02**2 / 60)
    least = (2.776 + 0.941) * error
    pairs = [(runs(rng, 3, least, suits=0.02), runs(rng, 3)) for _ in range(1000)]
    found = [mean_difference([pair]) for pair in pairs]
    inside = [abs(difference.value + least) < difference.margin for difference in found]
    assert 0.93 < np.mean(inside) < 0.975
    squares = np.mean([difference.detectable**2 for difference in found])
    assert math.sqrt(squares) == pytest.approx(least, rel=0.08)
    assert np.mean([difference.p < 0.05 for difference in found]) == pytest.approx(0.8, abs=0.05)
