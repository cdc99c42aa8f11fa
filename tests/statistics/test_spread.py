"""Spread over seeds, against figures computed by hand."""

import math

import pytest

from minigpt.statistics.spread import pooled_deviation


def test_one_group_has_its_own_standard_deviation():
    assert pooled_deviation([[1.0, 2.0, 3.0]]) == 1.0


def test_groups_are_weighted_by_their_degrees_of_freedom():
    # Variances 2 (one degree of freedom) and 1 (two): (2 * 1 + 1 * 2) / 3.
    assert pooled_deviation([[0.0, 2.0], [1.0, 2.0, 3.0]]) == pytest.approx(math.sqrt(4 / 3))


def test_groups_of_one_value_have_no_deviation():
    assert pooled_deviation([[1.0, 3.0], [7.0]]) == pooled_deviation([[1.0, 3.0]])
    assert math.isnan(pooled_deviation([[1.0], [2.0]]))
    assert math.isnan(pooled_deviation([]))
