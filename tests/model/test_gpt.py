"""The network: parameter counts, equality with GPT-2, causality, positions, its checks."""

import dataclasses
import math

import pytest
import torch
import transformers

from minigpt.config import build, compose_config
from minigpt.errors import UserError
from minigpt.model.gpt import (
    GPT,
    GPTConfig,
    count_parameters,
    training_flops_per_token,
)
from minigpt.model.positions import SinusoidalEmbedding

SMALL = GPTConfig(
    n_layer=2,
    n_head=2,
    n_embd=16,
    mlp_ratio=4,
    block_size=12,
    vocab_size=37,
    dropout=0.0,
    embd_dropout=0.0,
    bias=True,
    head_bias=False,
    tie_weights=True,
    positions="learned",
    init="gpt2",
)


@pytest.mark.parametrize(
    ("preset", "parameters"),
    [("mini", 6_479_053), ("base", 13_278_976), ("wide", 27_344_384), ("gpt2", 124_439_808)],
)
def test_presets_have_the_published_parameter_counts(preset, parameters):
    config = build(GPTConfig, "model", compose_config([f"model={preset}"]).model)
    assert sum(count_parameters(config).values()) == parameters


@pytest.mark.parametrize("tied", [True, False])
def test_count_parameters_equals_the_networks_number_of_parameters(tied):
    config = dataclasses.replace(SMALL, tie_weights=tied)
    parameters = sum(p.numel() for p in GPT(config).parameters())
    assert sum(count_parameters(config).values()) == parameters


def test_logits_equal_those_of_transformers_gpt2_with_the_same_weights():
    theirs = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=37, n_positions=12, n_embd=16, n_layer=2, n_head=2, bos_token_id=0,
            eos_token_id=0, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0,
        )
    ).eval()  # fmt: skip
    with torch.no_grad():
        for p in theirs.parameters():
            p.normal_()  # zero biases or unit norms would hide a missing one
    ours = GPT(SMALL).eval()
    names = {
        "transformer.wte": "wte", "transformer.wpe": "wpe", "transformer.ln_f": "ln_f",
        "transformer.h": "blocks", "attn.c_attn": "attn.qkv", "attn.c_proj": "attn.proj",
        "mlp.c_fc": "mlp.fc", "mlp.c_proj": "mlp.proj", "lm_head": "head",
    }  # fmt: skip
    weights = {}
    for name, value in theirs.state_dict().items():
        transposed = ".c_" in name and name.endswith("weight")  # GPT-2 stores (in, out)
        for theirs_part, ours_part in names.items():
            name = name.replace(theirs_part, ours_part)
        weights[name] = value.T if transposed else value
    ours.load_state_dict(weights)
    tokens = torch.randint(37, (3, 12))
    with torch.no_grad():
        torch.testing.assert_close(ours(tokens), theirs(tokens).logits, rtol=1e-4, atol=1e-4)


def test_no_logit_depends_on_a_later_token():
    torch.manual_seed(0)
    net = GPT(SMALL).eval()
    tokens = torch.randint(37, (1, 12))
    before = net(tokens)
    for cut in range(1, 12):
        changed = tokens.clone()
        changed[:, cut:] = (changed[:, cut:] + 1) % 37
        after = net(changed)
        assert torch.equal(before[:, :cut], after[:, :cut])
        assert not torch.equal(before[:, cut:], after[:, cut:])


def test_gpt2_initialisation_has_the_published_standard_deviations():
    torch.manual_seed(0)
    net = GPT(dataclasses.replace(SMALL, n_embd=128, vocab_size=500, tie_weights=False))
    assert net.wte.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert net.head.weight.std().item() == pytest.approx(0.02, rel=0.05)
    # 0.02 / sqrt(2 * n_layer)
    assert net.blocks[0].attn.proj.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert not net.blocks[0].mlp.fc.bias.any()


def test_dropout_acts_in_training_mode_only():
    torch.manual_seed(0)
    net = GPT(dataclasses.replace(SMALL, dropout=0.5, embd_dropout=0.5))
    tokens = torch.randint(37, (2, 12))
    assert not torch.equal(net(tokens), net(tokens))
    net.eval()
    assert torch.equal(net(tokens), net(tokens))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_embd": 15}, "model.n_embd=15 is not a multiple of model.n_head=2; 16 would be"),
        ({"n_layer": 0}, "model.n_layer must be above 0, got 0"),
        ({"vocab_size": -1}, "model.vocab_size must be above 0, got -1"),
        ({"dropout": 1.0}, r"model.dropout must lie in \[0, 1\), got 1.0"),
        ({"embd_dropout": -0.1}, r"model.embd_dropout must lie in \[0, 1\), got -0.1"),
        ({"n_head": "two"}, "model.n_head must be int, got 'two'"),
        ({"n_head": True}, "model.n_head must be int, got True"),
        ({"bias": 1}, "model.bias must be bool, got 1"),
        ({"activation": "relu"}, "model.activation=relu is not one of gelu_tanh, gelu"),
        ({"init": "gpt"}, "model.init=gpt is not one of gpt2, torch; did you mean 'gpt2'?"),
    ],
)
def test_a_wrong_value_is_rejected_by_key(change, message):
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        dataclasses.replace(SMALL, **change)


@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "none"])
def test_logits_depend_on_token_order_with_every_kind_of_position(positions):
    torch.manual_seed(0)
    net = GPT(dataclasses.replace(SMALL, positions=positions)).eval()
    logits, swapped = net(torch.tensor([[1, 2, 3, 4]])), net(torch.tensor([[2, 1, 3, 4]]))
    assert not torch.allclose(logits[0, -1], swapped[0, -1], atol=1e-6)
    parameters = sum(p.numel() for p in net.parameters())
    assert sum(count_parameters(net.config).values()) == parameters
    assert ("wpe.weight" in dict(net.named_parameters())) == (positions == "learned")


def test_sinusoids_match_the_paper_at_the_scale_of_a_learned_embedding():
    waves = SinusoidalEmbedding(4)(torch.arange(3))
    expected = [[math.sin(p), math.cos(p), math.sin(p / 100), math.cos(p / 100)] for p in range(3)]
    torch.testing.assert_close(waves, torch.tensor(expected) * 0.02 * math.sqrt(2))
    assert SinusoidalEmbedding(64)(torch.arange(500)).std() == pytest.approx(0.02, rel=0.15)


def test_training_flops_count_matrix_products_and_attention():
    base = build(GPTConfig, "model", compose_config(["model=base"]).model)
    # 6 x (2 blocks of 198,272 and a head of 6,432,896) + attention's 12 x 2 x 128 x 128
    assert training_flops_per_token(base) == 6 * (2 * 198_272 + 6_432_896) + 12 * 2 * 128 * 128
    tied = dataclasses.replace(base, tie_weights=True)
    assert training_flops_per_token(tied) == training_flops_per_token(base)
