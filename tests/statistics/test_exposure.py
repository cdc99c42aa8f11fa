"""Exposure as in "The Secret Sharer", in bits."""

import math
import random
import statistics

import pytest

from minigpt.statistics.exposure import CHANCE, extrapolated_exposure, rank, sampled_exposure


def test_the_likeliest_of_1024_strings_has_ten_bits_and_the_last_has_none():
    references = [float(i) for i in range(1, 1024)]
    assert (rank(0.5, references), sampled_exposure(0.5, references)) == (1, 10.0)
    assert (rank(1.5, references), sampled_exposure(1.5, references)) == (2, 9.0)
    assert (rank(2000.0, references), sampled_exposure(2000.0, references)) == (1024, 0.0)
    assert rank(3.0, references) == 4  # a tie counts against the string


@pytest.mark.parametrize("z", [1.0, 0.0, -1.0, -3.0])
def test_the_extrapolated_form_is_log2_of_the_share_of_a_normal_distribution(z):
    references = [10.0, 12.0, 14.0]
    expected = -math.log2(statistics.NormalDist(12, 2).cdf(12 + 2 * z))
    assert extrapolated_exposure(12 + 2 * z, references, 10**12) == pytest.approx(expected)


@pytest.mark.parametrize("nats", [-20.0, -1e6])
def test_it_ends_at_the_number_of_strings(nats):
    assert extrapolated_exposure(nats, [10.0, 12.0, 14.0], 2**20) == pytest.approx(20)


def test_it_is_unknown_where_the_references_are_all_alike():
    assert math.isnan(extrapolated_exposure(1.0, [2.0, 2.0], 100))


def test_both_forms_agree_about_strings_that_were_not_planted():
    rng = random.Random(1)
    references = [rng.gauss(30, 3) for _ in range(4000)]
    others = [rng.gauss(30, 3) for _ in range(400)]
    sampled = [sampled_exposure(nats, references) for nats in others]
    extrapolated = [extrapolated_exposure(nats, references, 10**12) for nats in others]
    assert statistics.fmean(sampled) == pytest.approx(CHANCE, abs=0.25)
    assert statistics.fmean(extrapolated) == pytest.approx(statistics.fmean(sampled), abs=0.05)
