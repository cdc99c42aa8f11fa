"""Effects between groups of plain observations."""

import math

import pytest

from minigpt.statistics.effects import Observation, effects, group_by_settings, seed_deviation


def observed(loss, seed=1, seconds=10.0, **settings):
    return Observation(settings, seed, loss, seconds)


def test_a_key_is_compared_between_neighbouring_values_all_else_being_equal():
    groups = group_by_settings(
        [
            observed(5.0, lr=1, width=64),
            observed(4.0, lr=2, width=64, seconds=20.0),
            observed(4.5, lr=1, width=128),
            observed(3.7, lr=2, width=128),
        ]
    )
    by_key = {effect.changes[0].key: effect for effect in effects(groups, ["lr", "width"])}
    assert by_key["lr"].loss == pytest.approx((-1.0 - 0.8) / 2)
    assert by_key["lr"].pairs == 2
    assert by_key["lr"].seconds == pytest.approx((1.0 + 0.0) / 2)
    assert by_key["width"].loss == pytest.approx((-0.5 - 0.3) / 2)
    assert by_key["width"].perplexity == pytest.approx(math.exp(-0.4) - 1)


def test_a_seed_counts_once_in_a_group():
    (group,) = group_by_settings([observed(5.0), observed(5.0), observed(5.2, seed=2)])
    assert group.losses == [5.0, 5.2]
    assert group.mean_loss == pytest.approx(5.1)


def test_an_effect_below_two_standard_deviations_is_marginal():
    groups = group_by_settings(
        [observed(5.0, 1, lr=1), observed(5.2, 2, lr=1), observed(4.9, 1, lr=2),
         observed(5.1, 2, lr=2)]
    )  # fmt: skip
    (effect,) = effects(groups, ["lr"])
    assert seed_deviation(groups) == pytest.approx(math.sqrt(0.02))
    assert effect.loss == pytest.approx(-0.1)
    assert effect.is_marginal(seed_deviation(groups), 5.0)
    assert not effect.is_marginal(0.04, 5.0)


def test_with_one_seed_an_effect_below_one_percent_of_the_loss_is_marginal():
    groups = group_by_settings([observed(5.0, lr=1), observed(4.9, lr=2)])
    (effect,) = effects(groups, ["lr"])
    assert not effect.is_marginal(math.nan, 4.9)
    assert effect.is_marginal(math.nan, 10.1)


def test_a_loss_too_large_to_exponentiate_is_an_infinite_perplexity():
    groups = group_by_settings([observed(5.0, lr=1), observed(900.0, lr=2)])
    (effect,) = effects(groups, ["lr"])
    assert effect.perplexity == math.inf
