"""Dropout drops the share it is told to, scales up the rest, and leaves attention causal."""

import dataclasses

import pytest
import torch

from minigpt.model.dropout import Dropout
from minigpt.model.gpt import GPT
from tests.model.test_gpt import SMALL


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_share_is_zeroed_and_the_rest_scaled_up(p, dtype):
    torch.manual_seed(1)
    found = Dropout(p)(torch.ones(1_000_001, dtype=dtype))
    kept = found[found != 0]
    deviation = (p * (1 - p) / len(found)) ** 0.5
    assert abs(1 - len(kept) / len(found) - p) < 5 * deviation
    assert (kept == kept[0]).all()
    assert kept[0].item() == pytest.approx(
        1 / (1 - p), rel=5e-3 if dtype == torch.bfloat16 else 1e-3
    )


def test_neighbours_are_dropped_independently():
    torch.manual_seed(2)
    dropped = (Dropout(0.5)(torch.ones(400_000)) == 0).double().view(-1, 4)
    # Four share the 64 bits of one random number.
    together = torch.corrcoef(dropped.T) - torch.eye(4)
    assert together.abs().max() < 5 / len(dropped) ** 0.5


def test_gradients_follow_the_mask():
    x = torch.ones(1000, requires_grad=True)
    found = Dropout(0.25)(x)
    found.sum().backward()
    assert torch.equal(x.grad, found.detach())
    assert 0 < (x.grad == 0).sum() < 1000


def test_the_seed_decides_the_mask():
    def masked(seed):
        torch.manual_seed(seed)
        return Dropout(0.5)(torch.ones(64))

    assert torch.equal(masked(1), masked(1))
    assert not torch.equal(masked(1), masked(2))


@pytest.mark.parametrize("dropout", [Dropout(0.0), Dropout(0.5).eval()])
def test_nothing_is_dropped_without_a_share_or_outside_training(dropout):
    x = torch.randn(10)
    assert dropout(x) is x


def test_attention_written_out_is_the_kernels():
    # A share that rounds to none: every step of dropping is taken, and drops nothing.
    net = GPT(dataclasses.replace(SMALL, dropout=1e-9))
    tokens = torch.randint(37, (3, 12))
    torch.testing.assert_close(net.train().hidden(tokens), net.eval().hidden(tokens))


def test_attention_under_dropout_sees_nothing_that_follows():
    net = GPT(dataclasses.replace(SMALL, dropout=0.3)).train()
    tokens = torch.randint(37, (1, 12))
    other = tokens.clone()
    other[:, 7:] = (other[:, 7:] + 1) % 37

    def hidden(tokens):
        torch.manual_seed(3)
        return net.hidden(tokens)[:, :7]

    assert torch.equal(hidden(tokens), hidden(other))
