"""What of a network the optimizer trains how, and its settings after a resume."""

import dataclasses

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from minigpt.errors import UserError
from minigpt.model.gpt import GPT
from minigpt.runs.checkpoints import read_checkpoint
from minigpt.training.optimizer import OptimizerConfig, make_optimizer, use_configured_settings
from minigpt.training.parameter_groups import parameter_kinds
from tests.model.test_gpt import SMALL

UNTIED = dataclasses.replace(SMALL, tie_weights=False)


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


def test_the_kinds_of_a_networks_parameters():
    kinds = parameter_kinds(GPT(UNTIED))
    assert kinds["wte.weight"] == kinds["wpe.weight"] == "tables"
    assert kinds["blocks.0.attn.qkv.weight"] == kinds["blocks.1.mlp.proj.weight"] == "matrices"
    assert kinds["blocks.0.attn.qkv.bias"] == kinds["ln_f.weight"] == "vectors"
    assert kinds["head.weight"] == "head"
    tied = parameter_kinds(GPT(SMALL))
    assert tied == {name: kind for name, kind in kinds.items() if name != "head.weight"}


def test_each_kind_has_its_multiple_of_the_learning_rate():
    config = optimizer_config(lr=0.1, tables_lr_ratio=0.5, head_lr_ratio=2.0, vectors_lr_ratio=3.0)
    net = GPT(UNTIED)
    rates = {
        group["name"]: (group["lr"], [id(p) for p in group["params"]])
        for group in make_optimizer(config, net).param_groups
    }
    assert list(rates) == ["matrices", "tables", "head", "vectors"]
    assert [rate for rate, _ in rates.values()] == pytest.approx([0.1, 0.05, 0.2, 0.3])
    assert rates["tables"][1] == [id(net.wte.weight), id(net.wpe.weight)]
    assert sum(len(members) for _, members in rates.values()) == len(list(net.parameters()))
    equal = make_optimizer(optimizer_config(head_lr_ratio=0.5, decay="matrices"), net).param_groups
    assert [group["name"] for group in equal] == ["matrices+tables", "head", "vectors"]
    (one,) = make_optimizer(optimizer_config(), net).param_groups
    assert one["name"] == "matrices+tables+head+vectors"
    assert all(p is q for p, q in zip(one["params"], net.parameters(), strict=True))


def test_under_mup_wide_matrices_take_smaller_steps_and_decay_as_fast():
    net = GPT(dataclasses.replace(SMALL, tie_weights=False, parametrization="mup", base_width=4))
    scaling = net.config.scaling
    config = optimizer_config(lr=0.1, weight_decay=0.2)
    matrices, rest = make_optimizer(config, net, scaling).param_groups
    assert (matrices["name"], rest["name"]) == ("matrices", "tables+head+vectors")
    assert (matrices["lr"], rest["lr"]) == pytest.approx((0.025, 0.1))  # 4 / 16 of the rate
    assert (matrices["weight_decay"], rest["weight_decay"]) == pytest.approx((0.8, 0.2))
    undecayed = optimizer_config(lr=0.1, decay="matrices", head_lr_ratio=0.5)
    groups = make_optimizer(undecayed, net, scaling).param_groups
    assert {group["name"]: (group["lr"], group["weight_decay"]) for group in groups} == {
        "matrices": (0.025, 0.4), "tables": (0.1, 0.1), "head": (0.05, 0.1), "vectors": (0.1, 0.0)
    }  # fmt: skip


def test_a_run_under_mup_has_these_rates_also_when_resumed(type_train, tiny, tmp_path):
    mup = ["model.parametrization=mup", "model.base_width=4", "scheduler=none",
           "optimizer.weight_decay=0.2", "hydra.run.dir=run"]  # fmt: skip
    assert type_train(*tiny, *mup, "optimizer.lr=0.01").code == 0
    assert type_train("resume=run", "trainer.max_epochs=3", "optimizer.lr=0.02").code == 0
    checkpoint = read_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")
    groups = checkpoint["optimizer_states"][0]["param_groups"]
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(0.005, 0.8), (0.02, 0.2)]


def trained(config, schedule_factor, steps):
    net = network()
    optimizer = make_optimizer(config, net)
    schedule = LambdaLR(optimizer, schedule_factor)
    for _ in range(steps):
        net(torch.ones(2, 3)).square().sum().backward()
        optimizer.step()
        schedule.step()
    return net, optimizer, schedule


def test_a_restored_optimizer_has_the_settings_of_the_config_and_the_moments_it_had():
    _, before, schedule_before = trained(
        optimizer_config(decay="matrices", vectors_lr_ratio=7.0), lambda _: 1.0, steps=3
    )
    config = optimizer_config(
        lr=0.2, betas=[0.5, 0.6], eps=1e-3, weight_decay=0.7, fused=False, decay="matrices",
        vectors_lr_ratio=0.5,
    )  # fmt: skip
    net, after, schedule = trained(config, lambda step: 1 / (1 + step), steps=0)
    after.load_state_dict(before.state_dict())
    schedule.load_state_dict(schedule_before.state_dict())
    assert after.param_groups[0]["lr"] == 1e-3  # as torch restores it
    for group in after.param_groups:
        del group["name"]  # as in a checkpoint of an older version
    use_configured_settings(config, net, schedule)
    for group, (rate, peak, decay) in zip(
        after.param_groups, ((0.05, 0.2, 0.7), (0.025, 0.1, 0.0)), strict=True
    ):
        assert (group["lr"], group["initial_lr"], group["weight_decay"]) == (rate, peak, decay)
        assert (group["betas"], group["eps"], group["fused"]) == ((0.5, 0.6), 1e-3, False)
    assert [group["name"] for group in after.param_groups] == ["matrices", "vectors"]
    assert schedule.get_last_lr() == [0.05, 0.025]
    for state, restored in zip(before.state.values(), after.state.values(), strict=True):
        assert torch.equal(state["exp_avg"], restored["exp_avg"])
    after.step()
    schedule.step()
    assert [group["lr"] for group in after.param_groups] == pytest.approx([0.04, 0.02])


def test_settings_that_did_not_change_stay_the_same_to_the_last_bit():
    config = optimizer_config(decay="matrices")
    net, optimizer, schedule = trained(config, lambda step: 0.9**step, steps=3)
    groups = [dict(group) for group in optimizer.param_groups]
    rates = schedule.get_last_lr()
    use_configured_settings(config, net, schedule)
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
        ({"head_lr_ratio": 0.0}, "optimizer.head_lr_ratio must be above 0, got 0.0"),
        ({"decay": "weights"}, "optimizer.decay=weights is not one of all, matrices"),
    ],
)
def test_wrong_settings_are_refused_by_key(change, message):
    with pytest.raises(UserError, match=message):
        optimizer_config(**change)
