"""Effects between groups of plain observations."""

import math

import numpy as np
import pytest

from minigpt.statistics.effects import Observation, effects, group_by_settings


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
    assert by_key["lr"].difference.value == pytest.approx((-1.0 - 0.8) / 2)
    assert by_key["lr"].pairs == 2
    assert by_key["lr"].seconds == pytest.approx((1.0 + 0.0) / 2)
    assert by_key["width"].difference.value == pytest.approx((-0.5 - 0.3) / 2)
    assert by_key["width"].perplexity == pytest.approx(math.exp(-0.4) - 1)


def test_a_seed_counts_once_in_a_group():
    (group,) = group_by_settings([observed(5.0), observed(5.0), observed(5.2, seed=2)])
    assert group.figures == [5.0, 5.2]
    assert group.repeats.mean == pytest.approx(5.1)


def test_an_effect_is_as_sure_as_its_seeds_and_documents_allow():
    groups = group_by_settings(
        [observed(5.0, 1, lr=1), observed(5.2, 2, lr=1), observed(4.9, 1, lr=2),
         observed(5.1, 2, lr=2)]
    )  # fmt: skip
    (effect,) = effects(groups, ["lr"])
    assert effect.difference.value == pytest.approx(-0.1)
    assert effect.difference.stderr == pytest.approx(math.sqrt(0.02))
    assert effect.difference.documents == 0
    documents = np.array([0.1, 0.0, -0.1])
    first = Observation({"lr": 1}, 1, 5.0, 10.0, documents)
    groups = group_by_settings([first, Observation({"lr": 2}, 1, 4.9, 10.0, -documents)])
    (effect,) = effects(groups, ["lr"])
    # -0.2, 0 and 0.2 on three documents: 3 / 2 of the sum of their squares.
    assert effect.difference.stderr == pytest.approx(math.sqrt(0.12))
    assert effect.difference.documents == 3


def test_documents_that_one_run_lacks_are_not_paired():
    groups = group_by_settings(
        [Observation({"lr": 1}, 1, 5.0, 10.0, np.zeros(3)), Observation({"lr": 2}, 1, 4.9, 10.0)]
    )
    (effect,) = effects(groups, ["lr"])
    assert effect.difference.documents == 0
    assert math.isnan(effect.difference.p)


def test_a_loss_too_large_to_exponentiate_is_an_infinite_perplexity():
    groups = group_by_settings([observed(5.0, lr=1), observed(900.0, lr=2)])
    (effect,) = effects(groups, ["lr"])
    assert effect.perplexity == math.inf
