"""What a treatment changes, item by item."""

import math

import numpy as np
import pytest

from minigpt.statistics.with_and_without import contrast


def test_means_differences_and_standard_errors_are_those_of_a_hand_calculation():
    figures = np.array([[0.9, 0.5], [0.7, 0.1], [0.2, 0.3], [0.4, 0.3]])
    treated = np.array([[True, True], [True, False], [False, False], [False, False]])
    result = contrast(figures, treated)
    assert result.with_it == pytest.approx([0.8, 0.5])
    assert result.without_it == pytest.approx([0.3, 0.7 / 3])
    assert result.difference == pytest.approx([0.5, 0.5 - 0.7 / 3])
    # Both sides have a standard deviation of sqrt(0.02) and two figures.
    assert result.stderr[0] == pytest.approx(math.sqrt(0.02))
    assert math.isnan(result.stderr[1])
    assert result.with_count.tolist() == [2, 1]
    assert result.without_count.tolist() == [2, 3]


def test_an_item_with_an_empty_side_or_no_figure_has_no_difference():
    figures = np.array([[0.9, math.nan], [0.7, math.nan]])
    result = contrast(figures, np.array([[True, True], [True, False]]))
    assert np.isnan(result.difference).all()
