"""Token frequencies alone: literal losses."""

import math

import numpy as np
import pytest

from minigpt.statistics.unigram import unigram_nats


def test_text_of_the_same_frequencies_needs_their_entropy():
    counts = np.array([500, 250, 250])
    assert unigram_nats(counts, counts) == pytest.approx(1.5 * math.log(2), abs=1e-5)


def test_text_of_unknown_tokens_has_the_smoothing_that_suits_it_best():
    known, other = np.array([98, 0]), np.array([0, 3])
    assert unigram_nats(known, other) == pytest.approx(math.log(100))  # (0 + 1) / (98 + 2)
