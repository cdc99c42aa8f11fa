"""How a figure changes with the width: its power, and whether it is flat."""

import math

import pytest

from minigpt.statistics.width_trend import WidthTrend


def test_a_power_law_has_its_exponent():
    trend = WidthTrend({64: 0.5, 128: 1.0, 256: 2.0})
    assert (trend.exponent, trend.ratio) == (pytest.approx(1.0), 4.0)
    assert not trend.is_flat
    assert WidthTrend({64: 4.0, 256: 2.0}).exponent == pytest.approx(-0.5)


def test_flat_is_within_a_factor_of_two():
    assert WidthTrend({64: 1.0, 128: 2.0, 256: 1.0}).is_flat
    assert not WidthTrend({64: 1.0, 128: 2.01}).is_flat


def test_zeros_are_flat_only_among_themselves():
    assert WidthTrend({64: 0.0, 128: 0.0}).is_flat
    assert WidthTrend({64: 0.0, 128: 1.0}).ratio == math.inf
    assert math.isnan(WidthTrend({64: 0.0, 128: 1.0}).exponent)


def test_what_is_not_a_number_is_not_flat():
    trend = WidthTrend({64: math.nan, 128: 1.0})
    assert math.isnan(trend.ratio)
    assert not trend.is_flat
