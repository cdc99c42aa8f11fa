"""Report B's bug and a leaking mask are planted, and both are caught before the first step."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from minigpt.batches.blocks import Blocks
from minigpt.errors import UserError
from minigpt.model.attention import CausalSelfAttention
from minigpt.model.gpt import GPT
from minigpt.model.loss import IGNORE, next_token_loss
from minigpt.training.callbacks.alignment_guard import (
    check_causality,
    check_first_loss,
    check_targets,
    check_training_loss,
    zeros_filled,
)
from minigpt.training.lit_gpt import LitGPT
from tests.model.test_gpt import SMALL


@pytest.fixture
def net():
    torch.manual_seed(0)
    return GPT(dataclasses.replace(SMALL, tie_weights=False)).eval()


@pytest.fixture
def inputs():
    return torch.randint(37, (3, 12), generator=torch.Generator().manual_seed(1))


def test_shifted_targets_pass_and_the_last_may_be_ignored(inputs):
    targets = torch.cat([inputs[:, 1:], torch.full((3, 1), IGNORE)], dim=1)
    check_targets(inputs, targets)
    targets[2, 6:] = IGNORE
    check_targets(inputs, targets)


def test_unshifted_targets_are_caught(inputs):
    with pytest.raises(UserError, match="target 0 is token .* the targets are not shifted"):
        check_targets(inputs, inputs)


def test_targets_shifted_by_two_are_caught(inputs):
    with pytest.raises(UserError, match="target i must be input i"):
        check_targets(inputs, inputs.roll(-2, dims=1))


def test_the_causal_network_passes_and_a_leaking_mask_is_caught(net, inputs, monkeypatch):
    check_causality(net, inputs)
    attend = F.scaled_dot_product_attention

    def leaking(q, k, v, **kwargs):
        return attend(q, k, v, **{**kwargs, "is_causal": False})

    monkeypatch.setattr(F, "scaled_dot_product_attention", leaking)
    with pytest.raises(UserError, match="position 0 changes when only tokens from position 1 on"):
        check_causality(net, inputs)


def test_a_loss_on_other_tokens_than_the_next_is_caught_on_an_untrained_network(net, inputs):
    head = net.head

    def right(batch):
        return next_token_loss(net.hidden(batch[0]), head.weight, head.bias, batch[1])

    def shifted_once_more(batch):
        return next_token_loss(net.hidden(batch[0]).roll(1, 1), head.weight, head.bias, batch[1])

    check_training_loss(right, net, inputs)
    with torch.no_grad():
        net.head.weight.mul_(8)  # as many nats apart as 64 wide states are
    check_training_loss(right, net, inputs)
    with pytest.raises(UserError, match="the loss compares other tokens than the next"):
        check_training_loss(shifted_once_more, net, inputs)


def test_bfloat16_may_round_the_large_logits_of_a_trained_network(net):
    head = net.head

    def right(batch):
        hidden = net.hidden(batch[0])
        return next_token_loss(hidden, head.weight, head.bias, batch[1], "bfloat16")

    def shifted_once_more(batch):
        return right((batch[0].roll(1, 1), batch[1]))

    with torch.no_grad():
        net.head.weight.mul_(60)
    for seed in range(50):
        inputs = torch.randint(37, (1, 12), generator=torch.Generator().manual_seed(seed))
        assert 9 < net(inputs).abs().max() < 40
        with torch.no_grad():
            check_training_loss(right, net, inputs)
            with pytest.raises(UserError, match="the loss compares other tokens than the next"):
                check_training_loss(shifted_once_more, net, inputs)


def test_the_first_loss_is_near_ln_of_the_vocabulary():
    check_first_loss(10.9, 50257)
    for loss in (9.0, 12.0, float("nan")):
        with pytest.raises(UserError, match=r"about ln\(50257\) = 10.8249"):
            check_first_loss(loss, 50257)


# Planted in whole runs


def test_report_bs_bug_in_the_data_stops_a_run_before_its_first_step(
    tiny, type_train, monkeypatch, tmp_path
):
    right = Blocks.batch
    monkeypatch.setattr(Blocks, "batch", lambda self, indices: (right(self, indices)[0],) * 2)
    typed = type_train(*tiny)
    assert typed.code == 2
    assert typed.err.startswith("error: alignment guard: in block 0 of the first batch, target 0")
    assert typed.err.count("\n") == 1
    assert not list(tmp_path.glob("outputs/*/*/checkpoints/*"))


def test_report_bs_bug_in_the_loss_stops_a_run(tiny, type_train, monkeypatch):
    right = LitGPT.loss
    monkeypatch.setattr(LitGPT, "loss", lambda self, batch: right(self, (batch[0], batch[0])))
    typed = type_train(*tiny)
    assert (typed.code, typed.err[:23]) == (2, "error: alignment guard:")


def test_a_leaking_mask_stops_a_run(tiny, type_train, monkeypatch):
    def leaking(layer, x, *rest):
        mixed = right(layer, x, *rest)
        return mixed + layer.proj(x).mean(dim=1, keepdim=True)

    right = CausalSelfAttention.forward
    monkeypatch.setattr(CausalSelfAttention, "forward", leaking)
    for zero_init in ("false", "true"):  # a projection of zeros hides the leak at first
        typed = type_train(*tiny, f"model.zero_init={zero_init}")
        assert typed.code == 2
        assert "the attention mask lets later tokens through" in typed.err


def test_a_loss_on_other_tokens_stops_a_run_whose_logits_are_all_zero(
    tiny, type_train, monkeypatch
):
    def loss(lit, batch, label_smoothing=0.0):
        return right(lit, (batch[0].roll(1, 1), batch[1]), label_smoothing)

    right = LitGPT.loss
    monkeypatch.setattr(LitGPT, "loss", loss)
    typed = type_train(*tiny, "model.zero_init=true")
    assert typed.code == 2
    assert "the loss compares other tokens than the next" in typed.err


def test_zeros_are_filled_for_the_checks_only(inputs):
    net = GPT(dataclasses.replace(SMALL, tie_weights=False, zero_init=True, bigram_embeddings=5))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.random.get_rng_state()
    with torch.no_grad(), zeros_filled(net):
        assert net.head.weight.any()
        assert net.blocks[1].mlp.proj.weight.any()
        assert net.bigrams.table.weight.any()
        assert torch.equal(net.blocks[0].attn.qkv.weight, before["blocks.0.attn.qkv.weight"])
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_an_impossibly_low_loss_on_unseen_text_stops_a_run(tiny, type_train):
    typed = type_train(*tiny, "callbacks.alignment_guard.min_loss=3.0", "optimizer.lr=0.01")
    assert typed.code == 2
    assert "below the 3.0 that unseen text allows" in typed.err
