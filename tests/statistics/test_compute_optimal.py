"""A budget is spent as the closed form says, and a text that runs out makes networks larger."""

import math

import numpy as np
import pytest

from minigpt.statistics.compute_optimal import TokenCost, best_allocation, iso_budget
from minigpt.statistics.repeated_tokens import effective_tokens
from minigpt.statistics.scaling_law import ScalingLaw

LAW = ScalingLaw(E=1.2, A=60.0, alpha=0.35, B=400.0, beta=0.4)
SIX = TokenCost((1e5, 1e6), (6e5, 6e6))


@pytest.mark.parametrize("budget", [1e12, 1e14, 1e16])
def test_a_budget_is_spent_as_the_closed_form_says(budget):
    """Hoffmann et al., 2022, equation 4: N = G (C / 6)^a."""
    best = best_allocation(LAW, SIX, budget, unique=1e30)
    a = 0.4 / 0.75
    g = (0.35 * 60 / (0.4 * 400)) ** (1 / 0.75)
    assert best.size == pytest.approx(g * (budget / 6) ** a, rel=1e-3)
    assert best.tokens == pytest.approx((budget / 6) ** (1 - a) / g, rel=1e-3)
    assert best.loss == pytest.approx(1.2 + 60 * best.size**-0.35 + 400 * best.tokens**-0.4)


def test_no_size_of_an_iso_flop_curve_beats_the_best():
    best = best_allocation(LAW, SIX, 1e14, unique=1e6)
    losses = iso_budget(LAW, SIX, 1e14, 1e6, np.geomspace(1e3, 1e9, 10_001))
    assert best.loss <= losses.min() + 1e-9


def test_a_text_that_runs_out_is_worth_a_larger_network():
    plenty, little = (best_allocation(LAW, SIX, 1e15, u) for u in (1e30, 2e5))
    assert little.size > 1.2 * plenty.size
    assert little.passes == pytest.approx(little.tokens / 2e5)
    assert little.loss > plenty.loss


def test_repeated_tokens_are_worth_less_and_less():
    """Muennighoff et al., 2023: four passes are worth 3.73, and ever more no more than 16.39."""
    values = effective_tokens(np.array([50.0, 100.0, 400.0, 1e6]), 100.0)
    assert values[:2].tolist() == [50.0, 100.0]
    assert values[2] == pytest.approx(100 + 1539 * (1 - math.exp(-3 / 15.39)))
    assert values[3] == pytest.approx(1639)


def test_a_cost_lies_on_straight_lines_in_logs_and_grows_with_size_beyond():
    cost = TokenCost((1e4, 1e6), (10.0, 100.0))
    assert cost.at(np.array([1e4, 1e5, 1e6, 1e7, 1e3])).tolist() == pytest.approx(
        [10, math.sqrt(1000), 100, 1000, 1]
    )
