"""μP: the table, the network that it makes, and that it is the standard one at the base width."""

import dataclasses
import math

import pytest
import torch

from minigpt.errors import UserError
from minigpt.model.gpt import GPT
from minigpt.model.parametrization import Parametrization
from tests.model.test_gpt import SMALL

MUP = dataclasses.replace(SMALL, parametrization="mup", base_width=4, tie_weights=False)


def test_the_table_at_four_times_the_base_width():
    four = Parametrization("mup", width=512, base_width=128, head_width=128, base_head_width=32)
    assert [four.init_std(kind) for kind in ("matrices", "tables", "head")] == [0.01, 0.02, 0.02]
    rates = {
        algorithm: [four.lr_ratio(kind, algorithm) for kind in ("matrices", "head", "tables")]
        for algorithm in ("adamw", "muon")
    }
    assert rates == {"adamw": [0.25, 1.0, 1.0], "muon": [0.5, 2.0, 1.0]}
    assert four.lr_ratio("vectors", "adamw") == 1.0
    assert four.output_multiplier == 0.25
    assert four.score_divisor == pytest.approx(128 / math.sqrt(32))


def test_the_standard_table_is_the_same_at_every_width():
    wide = Parametrization("standard", width=512, base_width=8, head_width=64, base_head_width=2)
    kinds = ("matrices", "tables", "head", "vectors")
    assert {wide.lr_ratio(kind, "adamw") for kind in kinds} == {1.0}
    assert {wide.init_std(kind) for kind in kinds} == {0.02}
    assert (wide.output_multiplier, wide.score_divisor) == (1.0, 8.0)


def test_heads_of_one_width_are_scaled_as_always():
    config = dataclasses.replace(MUP, n_embd=48, n_head=16, base_head_width=3)
    assert config.scaling.score_divisor == pytest.approx(math.sqrt(3))


def test_at_the_base_width_it_is_the_standard_network_bit_for_bit():
    nets = []
    for name in ("standard", "mup"):
        torch.manual_seed(0)
        changes = {"parametrization": name, "base_width": SMALL.n_embd, "n_head": 1}
        nets.append(GPT(dataclasses.replace(SMALL, **changes)))
    standard, mup = nets
    for name, value in standard.state_dict().items():
        assert torch.equal(value, mup.state_dict()[name]), name
    tokens = torch.randint(37, (2, 12))
    assert torch.equal(standard(tokens), mup(tokens))


def test_the_blocks_matrices_start_smaller_where_the_network_is_wider():
    torch.manual_seed(0)
    net = GPT(dataclasses.replace(MUP, n_embd=144, base_width=36, vocab_size=500))
    for weight, std in (
        (net.wte.weight, 0.02),
        (net.head.weight, 0.02),
        (net.blocks[0].mlp.fc.weight, 0.01),
        (net.blocks[1].attn.qkv.weight, 0.01),
        (net.blocks[1].mlp.proj.weight, 0.005),  # over sqrt(2 * n_layer) as well
    ):
        assert weight.std().item() == pytest.approx(std, rel=0.05)


@pytest.mark.parametrize("tied", [False, True])
def test_logits_are_those_of_the_multiplied_hidden_states(tied):
    torch.manual_seed(0)
    net = GPT(dataclasses.replace(MUP, tie_weights=tied)).eval()
    streams = []
    hook = net.ln_f.register_forward_pre_hook(lambda _, inputs: streams.append(inputs[0]))
    tokens = torch.randint(37, (2, 12))
    logits = net(tokens)
    hook.remove()
    # base_width / n_embd = 4 / 16
    torch.testing.assert_close(logits, net.ln_f(streams[0]) @ net.head.weight.T / 4)


def test_both_ways_of_attention_divide_scores_alike():
    torch.manual_seed(0)
    layer = GPT(dataclasses.replace(MUP, dropout=0.5)).blocks[0].attn.eval()
    x = torch.randn(2, 12, 16) * 10
    q, k, v = layer.queries_keys_values(x, None)
    future = torch.ones(12, 12, dtype=torch.bool).triu(1)
    scores = q @ k.transpose(-2, -1) * math.sqrt(2) / 8  # heads of 8, and of 2 at the base width
    expected = scores.masked_fill(future, -math.inf).softmax(-1) @ v
    torch.testing.assert_close(layer._attention_with_own_dropout(q, k, v), expected)
    joined = layer.proj(expected.transpose(1, 2).reshape(2, 12, 16))
    torch.testing.assert_close(layer(x), joined)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"init": "torch"}, "model.parametrization=mup needs model.init=gpt2"),
        ({"parametrization": "mu"}, "model.parametrization=mu is not one of standard, mup"),
        ({"base_width": 0}, "model.base_width must be above 0, got 0"),
        ({"base_head_width": -2}, "model.base_head_width must be above 0, got -2"),
    ],
)
def test_a_wrong_value_is_rejected_by_key(change, message):
    with pytest.raises(UserError, match=message):
        dataclasses.replace(MUP, **change)
