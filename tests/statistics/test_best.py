"""Which settings are told apart from the best."""

import math

import numpy as np

from minigpt.statistics.best import standings
from minigpt.statistics.difference import Repeats


def test_settings_within_chance_of_the_lowest_are_not_called_worse():
    settings = [
        Repeats(np.array([5.00, 5.02, 5.04])),
        Repeats(np.array([4.49, 4.51, 4.53])),
        Repeats(np.array([4.50, 4.52, 4.54])),
    ]
    places = standings(settings)
    assert [place.index for place in places] == [1, 2, 0]
    assert [place.is_worse for place in places] == [False, False, True]
    assert places[0].difference is None
    assert places[1].difference is not None
    assert places[1].difference.value > 0
    # Alone its p is 0.57; of two comparisons it is the larger, and stays.
    assert places[1].corrected_p == places[1].difference.p
    assert places[2].corrected_p == 2 * places[2].difference.p


def test_without_seeds_and_documents_nothing_is_called_worse():
    places = standings([Repeats(np.array([1.0])), Repeats(np.array([9.0]))])
    assert [place.index for place in places] == [0, 1]
    assert math.isnan(places[1].corrected_p)
    assert not places[1].is_worse
