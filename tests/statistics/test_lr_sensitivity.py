"""The best of several learning rates, the optimum between them, and what a wrong rate costs."""

import math

import pytest

from minigpt.statistics.lr_sensitivity import best_rate, lr_sensitivity


def test_the_optimum_between_rates_is_that_of_the_parabola():
    # A parabola in log2 of the rate, lowest at 2^0.25; the rates need not be evenly spaced.
    losses = {2.0**x: 3 + (x - 0.25) ** 2 for x in (-2, -0.5, 0, 1, 3)}
    best = best_rate(losses)
    assert (best.rate, best.loss, best.at_edge) == (1.0, 3.0625, False)
    assert best.between == pytest.approx(2**0.25)


def test_a_best_rate_at_an_edge_is_said_to_be_there():
    assert best_rate({4.0: 1.0, 1.0: 3.0, 2.0: 2.0}).at_edge
    low = best_rate({1.0: 1.0, 2.0: 2.0, 4.0: 3.0})
    assert (low.rate, low.at_edge, low.between) == (1.0, True, 1.0)


def test_a_flat_valley_has_its_optimum_in_the_middle():
    assert best_rate({1.0: 2.0, 2.0: 2.0, 4.0: 2.0}).rate == 1.0
    assert best_rate({1.0: 3.0, 2.0: 2.0, 4.0: 3.0}).between == pytest.approx(2.0)
    assert best_rate({1.0: 2.5, 2.0: 2.0, 4.0: 2.0, 8.0: 3.0}).between == pytest.approx(2**1.5)


def test_sensitivity_is_the_mean_capped_loss_above_the_best():
    # Wortsman et al.: mean of min(loss, initial) less the best: (3 + 2 + 5 + 5) / 4 - 2.
    losses = {1.0: 3.0, 2.0: 2.0, 4.0: 9.0, 8.0: math.nan}
    assert lr_sensitivity(losses, initial_loss=5.0) == pytest.approx(1.75)
    assert lr_sensitivity({1.0: 2.0, 2.0: math.inf}, 5.0) == pytest.approx(1.5)
    assert lr_sensitivity({1.0: 2.0, 2.0: 2.0}, 5.0) == 0.0
