"""Student's t, against tables, closed forms and a sum over its density."""

import math

import numpy as np
import pytest

from minigpt.statistics.student import quantile, two_sided_p


@pytest.mark.parametrize(
    ("freedom", "t"),
    [(1, 12.7062), (2, 4.30265), (3, 3.18245), (4, 2.77645), (10, 2.22814), (120, 1.97993)],
)
def test_quantiles_are_those_of_the_tables(freedom, t):
    assert quantile(0.975, freedom) == pytest.approx(t, abs=1e-5 * t)
    assert quantile(0.025, freedom) == -quantile(0.975, freedom)
    assert two_sided_p(t, freedom) == pytest.approx(0.05, abs=1e-6)


def test_with_one_and_two_degrees_of_freedom_it_has_a_closed_form():
    for t in (0.0, 0.3, 1.0, 5.0, 1000.0):
        assert two_sided_p(t, 1) == pytest.approx(1 - 2 / math.pi * math.atan(t), rel=1e-9)
        assert two_sided_p(-t, 2) == pytest.approx(1 - t / math.sqrt(2 + t * t), rel=1e-6)
    assert two_sided_p(math.inf, 3) == 0


def test_degrees_of_freedom_need_not_be_whole():
    t = np.linspace(-3.1, 3.1, 200_001)
    density = (1 + t**2 / 2.6) ** (-1.8)
    front = math.gamma(1.8) / (math.sqrt(2.6 * math.pi) * math.gamma(1.3))
    inside = front * density.sum() * (t[1] - t[0])
    assert two_sided_p(3.1, 2.6) == pytest.approx(1 - inside, abs=1e-5)


def test_with_many_degrees_of_freedom_it_is_the_normal_distribution():
    assert two_sided_p(1.5, 1e6) == pytest.approx(math.erfc(1.5 / math.sqrt(2)), rel=1e-5)
