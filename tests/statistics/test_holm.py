"""Holm's correction, by hand."""

import math

from minigpt.statistics.holm import holm


def test_the_smallest_is_multiplied_by_the_number_of_all_and_none_falls_below_a_smaller_one():
    # 0.005 * 4, 0.01 * 3, 0.03 * 2, and 0.04 * 1, which may not be less than the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == [0.03, 0.06, 0.06, 0.02]


def test_no_value_exceeds_one_and_an_unknown_one_is_not_counted():
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    corrected = holm([math.nan, 0.02, 0.5])
    assert math.isnan(corrected[0])
    assert corrected[1:] == [0.04, 0.5]
    assert holm([]) == []
