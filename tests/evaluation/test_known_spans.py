"""Known spans are the longest runs of first choices."""

import numpy as np
import pytest

from minigpt.evaluation.known_spans import known_spans


@pytest.mark.parametrize(
    ("rank", "expected"),
    [
        ([], []),
        ([0], []),
        ([0, 0], [(0, 2)]),
        ([1, 0, 0, 0, 7, 0, 2, 0, 0], [(1, 3), (7, 2)]),
        ([3, 3, 3], []),
    ],
)
def test_runs_of_first_choices_of_two_or_more(rank, expected):
    assert known_spans(np.array(rank, np.int32), 2) == expected
