"""Each token of a document is scored once, as torch scores it with the same context."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from minigpt.errors import UserError
from minigpt.evaluation.windows import Scorer, Window, document_windows, score_documents
from minigpt.model.gpt import GPT, GPTConfig
from minigpt.model.scores import Head, score_targets

SHAPE = GPTConfig(
    n_layer=2, n_head=2, n_embd=16, mlp_ratio=2, block_size=8, vocab_size=70, dropout=0.1,
    embd_dropout=0.1, bias=True, head_bias=True, tie_weights=False, positions="learned",
    init="torch",
)  # fmt: skip


def windows(length, separator, stride):
    cut = document_windows(np.arange(length), separator, 4, stride)
    return [(window.ids.tolist(), window.scored) for window in cut]


@pytest.mark.parametrize(
    ("length", "separator", "stride", "expected"),
    [
        (0, 99, 4, []),
        (1, None, 4, []),
        (1, 99, 4, [([99, 0], 1)]),
        (3, None, 4, [([0, 1, 2], 2)]),
        (4, 99, 4, [([99, 0, 1, 2, 3], 4)]),
        # The last window begins early, so that its tokens have all the context there is.
        (6, 99, 4, [([99, 0, 1, 2, 3], 4), ([1, 2, 3, 4, 5], 2)]),
        (6, 99, 1, [([99, 0, 1, 2, 3], 4), ([0, 1, 2, 3, 4], 1), ([1, 2, 3, 4, 5], 1)]),
    ],
)
def test_windows_cut_a_document_so(length, separator, stride, expected):
    assert windows(length, separator, stride) == expected


@pytest.mark.parametrize("separator", [None, 69])
@pytest.mark.parametrize("stride", [1, 3, 8])
def test_scores_are_those_of_torch_with_the_same_context(separator, stride):
    torch.manual_seed(1)
    net = GPT(SHAPE).eval()
    rng = np.random.default_rng(1)
    documents = [rng.integers(0, 69, size) for size in (0, 1, 2, 8, 9, 20, 3, 40)]
    all_scores = [*score_documents(Scorer(net), documents, separator, stride)]
    assert len(all_scores) == len(documents)
    for ids, scores in zip(documents, all_scores, strict=True):
        sequence = [*([] if separator is None else [separator]), *ids.tolist()]
        expected = max(0, len(sequence) - 1)
        assert len(scores.nats) == len(scores.rank) == len(scores.context) == expected
        for i in range(expected):
            target = i + 1
            context = int(scores.context[i])
            logits = net(torch.tensor([sequence[target - context : target]]))[0, -1]
            nats = F.cross_entropy(logits, torch.tensor(sequence[target]))
            assert scores.nats[i] == pytest.approx(nats.item(), abs=1e-5)
            assert scores.rank[i] == (logits > logits[sequence[target]]).sum()
            assert context >= min(target, SHAPE.block_size - stride + 1)


def test_batches_of_any_size_give_the_same_scores(monkeypatch):
    torch.manual_seed(1)
    scorer = Scorer(GPT(SHAPE).eval())
    documents = [np.arange(size) % 69 for size in (5, 30, 1, 12)]
    together = [*score_documents(scorer, documents, 69)]
    monkeypatch.setattr("minigpt.evaluation.windows.BATCH_TOKENS", 1)
    alone = [*score_documents(scorer, documents, 69)]
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_allclose(a.nats, b.nats, atol=1e-5)
        np.testing.assert_array_equal(a.rank, b.rank)


@pytest.fixture(params=[1, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    assert torch.get_num_threads() == request.param
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize(("bias", "cap"), [(True, None), (False, None), (True, 200.0)])
def test_scores_of_a_vocabulary_of_several_tiles_are_those_of_float64(bias, cap):
    torch.manual_seed(1)
    hidden, weight = torch.randn(1100, 16), torch.randn(2500, 16)
    offsets = torch.randn(2500) if bias else None
    targets = torch.randint(2500, (1100,))
    hidden[0] *= 100  # its likeliest token is e^100 times as likely as its target, and more
    logits = hidden.double() @ weight.double().T + (0 if offsets is None else offsets.double())
    if cap is not None:
        logits = cap * torch.tanh(logits / cap)
    nats, rank = score_targets(Head(weight, offsets, cap), hidden, targets)
    expected = F.cross_entropy(logits, targets, reduction="none")
    assert expected[0] > 100
    torch.testing.assert_close(nats.double(), expected, rtol=1e-5, atol=1e-5)
    expected_rank = (logits > logits.gather(1, targets[:, None])).sum(1)
    # float32 may swap two that differ in the sixth digit.
    assert (rank - expected_rank).abs().max() <= 1
    assert (rank != expected_rank).float().mean() < 0.01


def test_a_target_as_likely_as_others_comes_first():
    head = Head(torch.ones(1500, 4), None, None)
    _, rank = score_targets(head, torch.ones(3, 4), torch.tensor([0, 700, 1499]))
    assert rank.tolist() == [0, 0, 0]


def test_windows_of_many_lengths_keep_their_order():
    torch.manual_seed(1)
    scorer = Scorer(GPT(SHAPE).eval())
    rng = np.random.default_rng(3)
    cut = [Window(rng.integers(0, 69, size), size - 1) for size in rng.integers(2, 9, 3000)]
    scores = [*scorer.score(cut)]
    assert [len(s.nats) for s in scores] == [window.scored for window in cut]
    for i in (0, 7, 1500, 2999):
        (alone,) = scorer.score([cut[i]])
        np.testing.assert_allclose(alone.nats, scores[i].nats, atol=1e-5)


def test_weights_that_are_not_numbers_are_refused_and_not_taken_for_certain():
    net = GPT(SHAPE).eval()
    net.head.weight.data[0, 0] = float("nan")
    with pytest.raises(UserError, match="the network's loss is not a number"):
        list(score_documents(Scorer(net), [np.arange(5)], 69))
