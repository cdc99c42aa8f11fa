"""The likeliest tokens are those of torch.topk, their figures those of torch's softmax."""

import pytest
import torch
import torch.nn.functional as F

from minigpt.model.alternatives import CHUNK_ROWS, GROUP, likeliest, score_alternatives
from minigpt.model.scores import Head


@pytest.mark.parametrize("V", [1, 5, GROUP - 1, GROUP, 5 * GROUP, 5 * GROUP + 1, 1000, 5000])
def test_the_likeliest_are_those_of_topk(V):  # noqa: N803
    torch.manual_seed(V)
    logits = torch.randn(20, V)
    logits[1] = torch.arange(V)  # the largest are in the columns beyond the last whole group
    logits[2] = -torch.arange(V).float()
    count = min(5, V)
    values, columns = likeliest(logits, count)
    expected = logits.topk(count)
    torch.testing.assert_close(values, expected.values, rtol=0, atol=0)
    torch.testing.assert_close(columns, expected.indices, rtol=0, atol=0)


@pytest.mark.parametrize("V", [3, 700])
@pytest.mark.parametrize(("has_bias", "cap"), [(True, None), (False, None), (True, 20.0)])
def test_figures_are_those_of_softmax(V, has_bias, cap):  # noqa: N803
    torch.manual_seed(1)
    N, C = CHUNK_ROWS + 3, 8
    weight, hidden = torch.randn(V, C), torch.randn(N, C)
    bias = torch.randn(V) if has_bias else None
    targets = torch.randint(V, (N,))
    scores = score_alternatives(Head(weight, bias, cap), hidden, targets, 5)
    logits = F.linear(hidden, weight, bias)
    if cap is not None:
        logits = cap * torch.tanh(logits / cap)
    p = logits.double().softmax(1)
    best = p.topk(min(5, V))
    assert torch.equal(scores.ids, best.indices)
    torch.testing.assert_close(scores.probabilities.double(), best.values, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(scores.nats, F.cross_entropy(logits, targets, reduction="none"))
    own = logits.gather(1, targets[:, None])
    assert torch.equal(scores.rank, (logits > own).sum(1))
