"""Schedules at their corners."""

import pytest

from minigpt.errors import UserError
from minigpt.training.schedule import SchedulerConfig, lr_factor


def schedule(name, warmup=0, decay=0.0, floor=0.0):
    return SchedulerConfig(name, warmup, decay, floor)


@pytest.mark.parametrize(
    ("config", "step", "factor"),
    [
        (schedule("none"), 0, 1),
        (schedule("none"), 99, 1),
        # Ten epochs of ten steps: one rate an epoch, the first one whole, the last not zero.
        (schedule("cosine_epoch"), 0, 1),
        (schedule("cosine_epoch"), 9, 1),
        (schedule("cosine_epoch"), 10, 0.975528),
        (schedule("cosine_epoch"), 50, 0.5),
        (schedule("cosine_epoch"), 99, 0.024472),
        (schedule("warmup_cosine", 10, floor=0.1), 0, 0.1),
        (schedule("warmup_cosine", 10, floor=0.1), 9, 1),
        (schedule("warmup_cosine", 10, floor=0.1), 10, 1),
        (schedule("warmup_cosine", 10, floor=0.1), 99, 0.1),
        (schedule("warmup_cosine", 1000), 49, 0.5),  # a warm-up longer than the run is the run
        (schedule("warmup_constant_decay", 10, 0.2), 0, 0.1),
        (schedule("warmup_constant_decay", 10, 0.2), 10, 1),
        (schedule("warmup_constant_decay", 10, 0.2), 79, 1),
        (schedule("warmup_constant_decay", 10, 0.2), 89, 0.5),
        (schedule("warmup_constant_decay", 10, 0.2), 99, 0),
        # The decay begins after the warm-up at the earliest: no jump where it takes all steps.
        (schedule("warmup_constant_decay", 10, 1.0), 9, 1),
        (schedule("warmup_constant_decay", 10, 1.0), 54, 0.5),
        (schedule("warmup_constant_decay", 10, 1.0), 99, 0),
    ],
)
def test_learning_rate_at_the_corners(config, step, factor):
    assert lr_factor(config, step, 100, 10) == pytest.approx(factor, abs=1e-6)


@pytest.mark.parametrize("name", ["warmup_cosine", "warmup_constant_decay", "cosine_epoch"])
@pytest.mark.parametrize("total", [1, 2, 3])
def test_the_shortest_runs_have_a_rate(name, total):
    for step in range(total + 1):  # a scheduler asks for one step more than there are
        assert 0 <= lr_factor(schedule(name, 1, 0.5), step, total, 1) <= 1


def test_wrong_schedules_are_refused_by_key():
    with pytest.raises(UserError, match="scheduler.name=cosine is not one of none, cosine_epoch"):
        schedule("cosine")
    with pytest.raises(UserError, match="scheduler.warmup_steps must be at least 0, got -1"):
        schedule("none", -1)
    with pytest.raises(UserError, match=r"scheduler.min_ratio must lie in \[0, 1\], got 2.0"):
        schedule("none", floor=2.0)
