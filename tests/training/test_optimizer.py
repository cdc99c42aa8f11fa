"""Schedules at their corners, and what weight decay covers."""

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from minigpt.errors import UserError
from minigpt.training.optimizer import (
    OptimizerConfig,
    SchedulerConfig,
    lr_factor,
    make_optimizer,
    use_configured_settings,
)


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
    ],
)
def test_learning_rate_at_the_corners(config, step, factor):
    assert lr_factor(config, step, 100, 10) == pytest.approx(factor, abs=1e-6)


@pytest.mark.parametrize("name", ["warmup_cosine", "warmup_constant_decay", "cosine_epoch"])
@pytest.mark.parametrize("total", [1, 2, 3])
def test_the_shortest_runs_have_a_rate(name, total):
    for step in range(total + 1):  # a scheduler asks for one step more than there are
        assert 0 <= lr_factor(schedule(name, 1, 0.5), step, total, 1) <= 1


def network():
    return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))


def optimizer_config(**change):
    values = {"lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.1, "fused": True,
              "decay": "all"}  # fmt: skip
    return OptimizerConfig(**{**values, **change})


def test_decay_covers_all_or_only_the_matrices():
    (everything,) = make_optimizer(optimizer_config(), network()).param_groups
    assert (len(everything["params"]), everything["weight_decay"]) == (4, 0.1)
    matrices, rest = make_optimizer(optimizer_config(decay="matrices"), network()).param_groups
    assert [p.dim() for p in matrices["params"]] == [2]
    assert [p.dim() for p in rest["params"]] == [1, 1, 1]
    assert (matrices["weight_decay"], rest["weight_decay"]) == (0.1, 0.0)


def test_a_step_is_adamw_by_hand():
    parameter = nn.Parameter(torch.tensor([2.0, -1.0]))
    module = nn.Module()
    module.p = parameter
    optimizer = make_optimizer(optimizer_config(lr=0.1), module)
    parameter.grad = torch.tensor([0.5, -3.0])
    optimizer.step()
    # The first step of Adam moves by lr in the gradient's direction, after decay by 1 - lr * wd.
    expected = torch.tensor([2.0 * 0.99 - 0.1, -1.0 * 0.99 + 0.1])
    torch.testing.assert_close(parameter.data, expected)


def trained(config, schedule_factor, steps):
    net = network()
    optimizer = make_optimizer(config, net)
    schedule = LambdaLR(optimizer, schedule_factor)
    for _ in range(steps):
        net(torch.ones(2, 3)).square().sum().backward()
        optimizer.step()
        schedule.step()
    return optimizer, schedule


def test_a_restored_optimizer_has_the_settings_of_the_config_and_the_moments_it_had():
    before, schedule_before = trained(optimizer_config(decay="matrices"), lambda _: 1.0, steps=3)
    config = optimizer_config(
        lr=0.2, betas=[0.5, 0.6], eps=1e-3, weight_decay=0.7, fused=False, decay="matrices"
    )
    after, schedule = trained(config, lambda step: 1 / (1 + step), steps=0)
    after.load_state_dict(before.state_dict())
    schedule.load_state_dict(schedule_before.state_dict())
    assert after.param_groups[0]["lr"] == 1e-3  # as torch restores it
    use_configured_settings(config, schedule)
    for group, decay in zip(after.param_groups, (0.7, 0.0), strict=True):
        assert (group["lr"], group["initial_lr"], group["weight_decay"]) == (0.05, 0.2, decay)
        assert (group["betas"], group["eps"], group["fused"]) == ((0.5, 0.6), 1e-3, False)
    assert schedule.get_last_lr() == [0.05, 0.05]
    for state, restored in zip(before.state.values(), after.state.values(), strict=True):
        assert torch.equal(state["exp_avg"], restored["exp_avg"])
    after.step()
    schedule.step()
    assert [group["lr"] for group in after.param_groups] == [pytest.approx(0.04)] * 2


def test_settings_that_did_not_change_stay_the_same_to_the_last_bit():
    config = optimizer_config(decay="matrices")
    optimizer, schedule = trained(config, lambda step: 0.9**step, steps=3)
    groups = [dict(group) for group in optimizer.param_groups]
    rates = schedule.get_last_lr()
    use_configured_settings(config, schedule)
    for group, before in zip(optimizer.param_groups, groups, strict=True):
        assert all(group[key] == before[key] for key in before if key != "params")
    assert schedule.get_last_lr() == rates


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": 0.0}, "optimizer.lr must be above 0, got 0.0"),
        ({"lr": "fast"}, "optimizer.lr must be float, got 'fast'"),
        ({"betas": [0.9]}, r"optimizer.betas must be two numbers in \[0, 1\)"),
        ({"weight_decay": -1.0}, "optimizer.weight_decay must be at least 0"),
        ({"decay": "weights"}, "optimizer.decay=weights is not one of all, matrices"),
    ],
)
def test_wrong_settings_are_refused_by_key(change, message):
    with pytest.raises(UserError, match=message):
        optimizer_config(**change)


def test_wrong_schedules_are_refused_by_key():
    with pytest.raises(UserError, match="scheduler.name=cosine is not one of none, cosine_epoch"):
        schedule("cosine")
    with pytest.raises(UserError, match="scheduler.warmup_steps must be at least 0, got -1"):
        schedule("none", -1)
    with pytest.raises(UserError, match=r"scheduler.min_ratio must lie in \[0, 1\], got 2.0"):
        schedule("none", floor=2.0)
