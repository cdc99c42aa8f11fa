"""Muon trains the blocks' matrices and AdamW the rest, with one state, through one optimizer."""

import copy
import dataclasses
import math

import pytest
import torch

from minigpt.errors import UserError
from minigpt.model.gpt import GPT
from minigpt.training.optimizer import (
    check_covers,
    make_optimizer,
    use_configured_settings,
)
from tests.model.test_gpt import SMALL
from tests.test_train import losses, summary
from tests.training.test_optimizer import UNTIED, optimizer_config

MUON = {"name": "muon", "lr": 0.02, "weight_decay": 0.1}


def network():
    torch.manual_seed(0)
    return GPT(UNTIED).eval()


def step(net, optimizer, seed=0):
    """One optimizer step on random tokens."""
    tokens = torch.randint(37, (4, 12), generator=torch.Generator().manual_seed(seed))
    optimizer.zero_grad()
    net(tokens).float().log_softmax(-1)[..., 3].mean().neg().backward()
    optimizer.step()


def test_a_matrix_moves_by_an_orthogonal_matrix_of_the_size_of_adamws_updates():
    net = network()
    before = copy.deepcopy(dict(net.named_parameters()))
    optimizer = make_optimizer(optimizer_config(**MUON), net)
    for parameter in net.parameters():
        parameter.grad = torch.randn_like(parameter) * torch.linspace(1, 9, parameter.shape[-1])
    optimizer.step()
    for name in ("blocks.0.attn.qkv.weight", "blocks.1.attn.proj.weight", "blocks.1.mlp.fc.weight"):
        old, new = before[name].detach(), net.get_parameter(name).detach()
        update = (old * (1 - 0.02 * 0.1) - new) / (0.02 * 0.2 * math.sqrt(max(new.shape)))
        # An odd polynomial of a matrix is the same polynomial of its singular values.
        gradient = net.get_parameter(name).grad
        u, values, v = torch.linalg.svd(gradient, full_matrices=False)
        values = values / gradient.norm()
        assert values.max() > 3 * values.min()
        for _ in range(5):
            values = 3.4445 * values - 4.775 * values**3 + 2.0315 * values**5
        torch.testing.assert_close(u.T @ update @ v.T, values.diag(), atol=0.03, rtol=0)
        assert values.median() > 0.7


def test_all_else_moves_as_under_adamw_alone():
    net = network()
    other = copy.deepcopy(net)
    step(net, make_optimizer(optimizer_config(**MUON, head_lr_ratio=0.5), net))
    step(
        other, make_optimizer(optimizer_config(lr=0.02, weight_decay=0.1, head_lr_ratio=0.5), other)
    )
    moved_alike = {
        name
        for name, parameter in net.named_parameters()
        if torch.equal(parameter, other.get_parameter(name))
    }
    matrices = {f"blocks.{i}.{part}.weight" for i in (0, 1)
                for part in ("attn.qkv", "attn.proj", "mlp.fc", "mlp.proj")}  # fmt: skip
    assert moved_alike == {name for name, _ in net.named_parameters()} - matrices


@pytest.mark.parametrize("covers", [["matrices"], ["matrices", "head"]])
def test_a_restored_optimizer_goes_on_to_the_last_bit_with_the_settings_of_its_config(covers):
    config = optimizer_config(**MUON, muon_covers=covers, tables_lr_ratio=0.5, decay="matrices")
    net = network()
    optimizer = make_optimizer(config, net)
    for seed in range(3):
        step(net, optimizer, seed)
    other = copy.deepcopy(net)
    restored = make_optimizer(config, other)
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for group in optimizer.param_groups:
        group["lr"] /= 2
    halved = dataclasses.replace(config, lr=config.lr / 2)
    constant = torch.optim.lr_scheduler.LambdaLR(restored, lambda _: 1.0)
    use_configured_settings(halved, other, constant)
    for seed in range(3, 6):
        step(net, optimizer, seed)
        step(other, restored, seed)
    for ours, theirs in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    muon = [group["name"] for group in restored.param_groups if group["algorithm"] == "muon"]
    assert muon == ["+".join(covers)]
    assert sum(len(state) == 1 for state in restored.state.values()) == 8 + len(covers) - 1


def test_a_closure_is_called_once_before_the_step():
    net = network()
    optimizer = make_optimizer(optimizer_config(**MUON), net)
    weight = net.blocks[0].mlp.fc.weight
    calls = []

    def closure():
        calls.append(weight.detach().clone())
        loss = net(torch.zeros(1, 4, dtype=torch.long)).square().sum()
        loss.backward()
        return loss

    before = weight.detach().clone()
    assert optimizer.step(closure) > 0
    assert len(calls) == 1
    assert torch.equal(calls[0], before)
    assert not torch.equal(weight, before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"muon_covers": ["matrices", "tables"]}, "optimizer.muon_covers=tables: Muon would chang"),
        ({"muon_covers": ["vectors"]}, "optimizer.muon_covers=vectors: Muon trains matrices only"),
        ({"muon_covers": ["matrix"]}, "optimizer.muon_covers=matrix is not one of .* 'matrices'"),
        ({"muon_covers": []}, "optimizer.muon_covers is empty; optimizer=adamw trains without"),
        ({"momentum": 1.0}, r"optimizer.momentum must lie in \[0, 1\), got 1.0"),
        ({"name": "moun"}, "optimizer.name=moun is not one of muon, adamw; did you mean 'muon'"),
    ],
)
def test_wrong_settings_are_refused_by_key(change, message):
    with pytest.raises(UserError, match=message):
        optimizer_config(**{**MUON, **change})


def test_a_head_that_is_the_token_table_is_not_for_muon():
    config = optimizer_config(**MUON, muon_covers=["matrices", "head"])
    check_covers(config, UNTIED)
    with pytest.raises(UserError, match="model.tie_weights=true makes the head the token table"):
        check_covers(config, SMALL)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_a_run_with_muon_learns_in_bfloat16_too(tiny, type_train, tmp_path, precision):
    typed = type_train(*tiny, "optimizer=muon", f"trainer.precision={precision}",
                       "trainer.max_epochs=1", "hydra.run.dir=run")  # fmt: skip
    assert typed.code == 0, typed.err
    assert summary(tmp_path / "run")["status"] == "finished"
    (_, first), *_, (_, last) = losses(tmp_path / "run")
    assert last < first - 0.3


def test_a_table_in_muons_group_is_one_line_before_anything_is_written(tiny, type_train, tmp_path):
    typed = type_train(*tiny, "optimizer=muon", "optimizer.muon_covers=[matrices,head]",
                       "model.tie_weights=true")  # fmt: skip
    assert typed.code == 2
    assert typed.err == (
        "error: optimizer.muon_covers=head: model.tie_weights=true makes the head the token table, "
        "which AdamW has to train; leave head out\n"
    )
