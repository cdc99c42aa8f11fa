"""Each token's alternatives are those of the plain network after the same context."""

import numpy as np
import pytest
import torch

from minigpt.evaluation.token_alternatives import token_alternatives
from minigpt.evaluation.windows import Scorer, score_documents
from minigpt.model.gpt import GPT, GPTConfig

SHAPE = GPTConfig(
    n_layer=2, n_head=2, n_embd=16, mlp_ratio=2, block_size=8, vocab_size=400, dropout=0.1,
    embd_dropout=0.1, bias=True, head_bias=True, tie_weights=False, positions="learned",
    init="torch",
)  # fmt: skip


@pytest.mark.parametrize("separator", [None, 399])
def test_alternatives_are_those_of_the_network_after_the_same_context(separator, monkeypatch):
    monkeypatch.setattr("minigpt.evaluation.windows.BATCH_TOKENS", 20)  # several batches
    torch.manual_seed(1)
    net = GPT(SHAPE).eval()
    rng = np.random.default_rng(1)
    documents = [rng.integers(0, 399, size) for size in (2, 8, 9, 20, 3, 30)]
    found = [*token_alternatives(net, documents, separator, 4, 5)]
    scores = [*score_documents(Scorer(net), documents, separator, 4)]
    for ids, rows, score in zip(documents, found, scores, strict=True):
        np.testing.assert_allclose(rows.nats, score.nats, atol=1e-5)
        np.testing.assert_array_equal(rows.rank, score.rank)
        sequence = [*([] if separator is None else [separator]), *ids.tolist()]
        for i, context in enumerate(score.context.tolist()):
            logits = net(torch.tensor([sequence[i + 1 - context : i + 1]]))[0, -1]
            best = logits.softmax(0).topk(5)
            assert rows.ids[i].tolist() == best.indices.tolist()
            np.testing.assert_allclose(rows.probabilities[i], best.values.detach(), atol=1e-5)
