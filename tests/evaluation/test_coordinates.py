"""The coordinate check measures the network's activations, and sees a wrong learning rate."""

import dataclasses

import pytest
import torch

from minigpt.evaluation.coordinates import QUANTITIES, Setting, activations, coordinates
from minigpt.model.gpt import GPT
from minigpt.model.parametrization import Parametrization
from minigpt.training.schedule import SchedulerConfig
from tests.model.test_gpt import SMALL
from tests.training.test_optimizer import optimizer_config

WIDTHS = (32, 128, 512)


def setting(**changes):
    torch.manual_seed(0)
    tokens = torch.randint(SMALL.vocab_size, (4, 8, 13))
    model = dataclasses.replace(SMALL, n_layer=1, tie_weights=False, base_width=128)
    values = {
        "model": model, "optimizer": optimizer_config(lr=4e-3), "loss": "float32", "seed": 1,
        "scheduler": SchedulerConfig("none", 0, 0.0, 0.0),
        "batches": [(t[:, :-1], t[:, 1:]) for t in tokens[:3]], "probe": tokens[3, :2, :-1],
    }  # fmt: skip
    return Setting(**{**values, **changes})


def changes_of(check):
    return {name: trend for name, figure, trend in check.lines if figure == "change"}


def test_activations_are_those_of_the_network():
    torch.manual_seed(0)
    net = GPT(SMALL).eval()
    tokens = torch.randint(37, (2, 12))
    kept = activations(net, tokens)
    with torch.no_grad():
        x = net.wte(tokens) + net.wpe(torch.arange(12))
        torch.testing.assert_close(kept["embedding"][0], x)
        for number, block in enumerate(net.blocks):
            attended = block.attn(block.ln_1(x))
            torch.testing.assert_close(kept["attention"][number], attended)
            fed = block.mlp(block.ln_2(x + attended))
            torch.testing.assert_close(kept["MLP"][number], fed)
            x = x + attended + fed
        torch.testing.assert_close(kept["stream"][0], x)
        torch.testing.assert_close(kept["logits"][0], net(tokens))
    assert not net.blocks[0].attn._forward_hooks


def test_a_step_changes_all_widths_alike_under_mup_and_wide_ones_more_under_standard():
    standard, mup = coordinates(setting(), WIDTHS)
    assert (standard.parametrization, mup.parametrization) == ("standard", "mup")
    assert all(trend.is_flat for trend in changes_of(mup).values())
    growing = changes_of(standard)
    assert growing["logits"].exponent > 0.7
    assert growing["MLP"].exponent > 0.7
    assert growing["embedding"].is_flat


def test_a_rate_that_does_not_follow_the_width_is_seen(monkeypatch):
    monkeypatch.setattr(Parametrization, "lr_ratio", lambda *_: 1.0)
    _, broken = coordinates(setting(), WIDTHS)
    assert not changes_of(broken)["MLP"].is_flat


def test_muon_changes_all_widths_alike_under_mup():
    muon = optimizer_config(lr=4e-3, name="muon", muon_covers=["matrices", "head"])
    standard, mup = coordinates(setting(optimizer=muon), WIDTHS)
    assert all(trend.is_flat for trend in changes_of(mup).values())
    assert not changes_of(standard)["MLP"].is_flat


def test_nothing_has_changed_before_the_first_step():
    standard, mup = coordinates(setting(), (32, 128))
    for check in (standard, mup):
        for quantity in QUANTITIES:
            for width in (32, 128):
                assert check.changes[quantity][width][0] == 0.0
                assert len(check.changes[quantity][width]) == 4
                assert check.sizes[quantity][width][0] > 0
    # At the base width both are the same network, trained the same way.
    for quantity in QUANTITIES:
        assert standard.changes[quantity][128] == pytest.approx(mup.changes[quantity][128])
