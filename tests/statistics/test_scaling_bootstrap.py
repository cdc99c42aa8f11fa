"""Intervals of a scaling law cover the truth, and resamples can always be fitted."""

import numpy as np
import pytest

from minigpt.statistics.scaling_bootstrap import bootstrap_laws, count_apart, interval, is_enough
from minigpt.statistics.scaling_fit import fit_law
from minigpt.statistics.scaling_law import Runs, ScalingLaw

LAW = ScalingLaw(E=1.2, A=60.0, alpha=0.35, B=400.0, beta=0.4)
SIZES, TOKENS = (1e5, 3e5, 9e5, 2.7e6), (1e6, 3e6, 9e6, 2.7e7)


def ladder(noise, rng, seeds=1):
    n, d, seed = (v.ravel() for v in np.meshgrid(SIZES, TOKENS, range(seeds)))
    return Runs(n, d, LAW.loss(n, d) * np.exp(noise * rng.standard_normal(len(n)))), seed.tolist()


def test_intervals_cover_the_loss_of_a_larger_run_nine_times_in_ten():
    at = np.array(1.1e7), np.array(1.1e8)
    covered = 0
    for trial in range(15):
        runs, seeds = ladder(0.005, np.random.default_rng(trial))
        laws = bootstrap_laws(runs, seeds, fit_law(runs), resamples=60, seed=trial)
        between = interval(laws, lambda law: float(law.loss(*at)))
        covered += between.low <= LAW.loss(*at) <= between.high
    assert covered >= 13


def test_without_noise_intervals_have_no_width():
    runs, seeds = ladder(0.0, np.random.default_rng(0))
    laws = bootstrap_laws(runs, seeds, fit_law(runs), resamples=20, seed=0)
    alpha = interval(laws, lambda law: law.alpha)
    assert alpha.low == pytest.approx(0.35, rel=1e-3)
    assert alpha.high == pytest.approx(0.35, rel=1e-3)


def test_what_a_seed_shifts_in_all_its_runs_widens_the_interval():
    rng = np.random.default_rng(3)
    runs, seeds = ladder(0.001, rng, seeds=5)
    shifted = runs.losses * np.exp(0.02 * rng.standard_normal(5))[seeds]
    runs = Runs(runs.sizes, runs.tokens, shifted)
    at = np.array(1e6), np.array(1e7)
    widths = []
    for grouping in (seeds, [0] * len(seeds)):
        laws = bootstrap_laws(runs, grouping, fit_law(runs), resamples=100, seed=0)
        between = interval(laws, lambda law: float(law.loss(*at)))
        widths.append(between.high - between.low)
    assert widths[0] > 1.5 * widths[1]


def test_a_resample_of_the_smallest_ladder_can_be_fitted():
    n, d = (values.ravel() for values in np.meshgrid(SIZES[:3], TOKENS[:3]))
    rng = np.random.default_rng(0)
    runs = Runs(n, d, LAW.loss(n, d) * np.exp(0.003 * rng.standard_normal(9)))
    laws = bootstrap_laws(runs, [1] * 9, fit_law(runs), resamples=50, seed=0)
    assert np.isfinite([law.loss(np.array(1e6), np.array(1e7)) for law in laws]).all()


def test_values_within_5_percent_count_once():
    assert count_apart(np.array([100.0, 104.0, 200.0, 50.0])) == 3
    assert count_apart(np.array([])) == 0


@pytest.mark.parametrize(
    ("sizes", "tokens", "enough"),
    [
        ([1, 2, 3, 1, 2, 3], [1, 2, 3, 2, 3, 1], True),
        ([1, 2, 3, 1, 2, 3], [1, 2, 3, 1, 2, 3], False),  # three points
        ([1, 2, 1, 2, 1, 2], [1, 1, 2, 2, 3, 3], False),  # two sizes
        ([1, 2, 3, 1, 2, 3], [1, 1, 1, 2, 2, 2], False),  # two lengths
    ],
)
def test_what_is_enough_to_fit(sizes, tokens, enough):
    runs = Runs(np.array(sizes, float), np.array(tokens, float), np.ones(6))
    assert is_enough(runs) is enough
