"""Dropout zeroes the share p, scales up the rest, and keeps attention causal."""

import dataclasses

import pytest
import torch

from minigpt.model.dropout import Dropout, RowsOfBatch
from minigpt.model.gpt import GPT
from tests.model.test_gpt import SMALL


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_share_p_is_zeroed_and_the_rest_is_scaled_up(p, dtype):
    torch.manual_seed(1)
    dropped = Dropout(p)(torch.ones(1_000_001, dtype=dtype))
    kept = dropped[dropped != 0]
    deviation = (p * (1 - p) / len(dropped)) ** 0.5
    assert abs(1 - len(kept) / len(dropped) - p) < 5 * deviation
    assert (kept == kept[0]).all()
    assert kept[0].item() == pytest.approx(
        1 / (1 - p), rel=5e-3 if dtype == torch.bfloat16 else 1e-3
    )


def test_the_rows_of_a_batch_have_the_masks_that_the_whole_batch_has():
    whole, part = Dropout(0.5), Dropout(0.5)
    torch.manual_seed(7)
    masks = [whole(torch.ones(5, 3, 7)) for _ in range(2)]  # two layers, one after the other
    part.rows = RowsOfBatch(first=2, total=5, generator=torch.Generator().manual_seed(7))
    for mask in masks:
        assert torch.equal(part(torch.ones(2, 3, 7)), mask[2:4])


def test_neighbouring_elements_are_dropped_independently():
    torch.manual_seed(2)
    # Four neighbours share the 64 bits of one random number.
    is_dropped = (Dropout(0.5)(torch.ones(400_000)) == 0).double().view(-1, 4)
    correlations = torch.corrcoef(is_dropped.T) - torch.eye(4)
    assert correlations.abs().max() < 5 / len(is_dropped) ** 0.5


def test_gradients_are_scaled_by_the_same_mask():
    x = torch.ones(1000, requires_grad=True)
    y = Dropout(0.25)(x)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())
    assert 0 < (x.grad == 0).sum() < 1000


def test_the_mask_depends_on_the_seed():
    def dropped_with(seed):
        torch.manual_seed(seed)
        return Dropout(0.5)(torch.ones(64))

    assert torch.equal(dropped_with(1), dropped_with(1))
    assert not torch.equal(dropped_with(1), dropped_with(2))


@pytest.mark.parametrize("dropout", [Dropout(0.0), Dropout(0.5).eval()])
def test_nothing_is_dropped_for_p_0_or_in_eval_mode(dropout):
    x = torch.randn(10)
    assert dropout(x) is x


def test_attention_with_our_own_mask_equals_torchs_attention():
    # p rounds to 0: our attention with dropout runs, but drops nothing.
    net = GPT(dataclasses.replace(SMALL, dropout=1e-9))
    tokens = torch.randint(37, (3, 12))
    torch.testing.assert_close(net.train().hidden(tokens), net.eval().hidden(tokens))


def test_attention_with_dropout_is_causal():
    net = GPT(dataclasses.replace(SMALL, dropout=0.3)).train()
    tokens = torch.randint(37, (1, 12))
    changed = tokens.clone()
    changed[:, 7:] = (changed[:, 7:] + 1) % 37

    def hidden(tokens):
        torch.manual_seed(3)
        return net.hidden(tokens)[:, :7]

    assert torch.equal(hidden(tokens), hidden(changed))
