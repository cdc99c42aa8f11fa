"""What comes back is what greedy continuation writes, and its probability that of sampling it."""

import numpy as np
import pytest
import torch

from minigpt.evaluation.extraction import (
    CONTINUATION,
    DRAWS,
    at_least_once,
    extraction,
    fitting_prefixes,
    score_continuations,
)
from minigpt.evaluation.longest_spans import longest_spans
from minigpt.evaluation.passages import Documents
from minigpt.evaluation.windows import Scorer
from minigpt.model.generate import Sampling, generate
from minigpt.model.gpt import GPT, GPTConfig
from minigpt.tokens.tokenizer import CharTokenizer
from tests.texts import Texts

BLOCK, V = 64, 90
SHAPE = GPTConfig(
    n_layer=1, n_head=2, n_embd=16, mlp_ratio=2, block_size=BLOCK, vocab_size=V, dropout=0.0,
    embd_dropout=0.0, bias=True, head_bias=True, tie_weights=False, positions="learned",
    init="torch",
)  # fmt: skip
TOKENIZER = CharTokenizer("".join(map(chr, range(33, 33 + V))))


@pytest.fixture
def net():
    torch.manual_seed(1)
    return GPT(SHAPE).eval()


def prompt(seed, length=32):
    return np.random.default_rng(seed).integers(0, V, length).tolist()


def continued(net, ids, new):
    """Greedy continuation that, when its context is full, keeps the last half of it."""
    ids, context = list(ids), list(ids)
    for _ in range(new):
        if len(context) == BLOCK + 1:
            context = ids[-(BLOCK // 2) :]
        logits = net(torch.tensor([context[-BLOCK:]]))[0, -1]
        ids.append(int(logits.argmax()))
        context.append(ids[-1])
    return ids


def scored(net, documents, prefix=32):
    texts = Texts(train=documents)
    own = Documents(texts, ["train"], None)
    passages = own.passages(prefix + CONTINUATION, 1000, 0)
    return own, passages, score_continuations(Scorer(net), passages, prefix)


@pytest.mark.parametrize("prefix", [8, 16, 32])
def test_text_that_greedy_continuation_writes_comes_back(net, prefix):
    written = [
        generate(net, torch.tensor([prompt(seed, prefix)]), 32, Sampling(greedy=True), 0)[0]
        for seed in range(3)
    ]
    documents = [ids.tolist() for ids in written]
    for wrong, ids in zip((0, 5), documents, strict=False):
        ids[prefix + wrong] = (ids[prefix + wrong] + 1) % V
    _, _, found = scored(net, documents, prefix)
    assert found.come_back.tolist() == [0, 5, 32]


def test_a_probability_is_the_product_of_those_of_the_tokens(net):
    _, passages, found = scored(net, [prompt(3, 64)], 32)
    p = net(torch.tensor([passages[0].ids[:-1].tolist()]))[0].double().softmax(-1)
    targets = passages[0].ids.astype(int)
    product = np.prod([p[i - 1, targets[i]].item() for i in range(32, 64)])
    assert np.exp(-found.nats[0]) == pytest.approx(product, rel=1e-4)


def test_some_draws_hold_a_text_with_the_complement_of_missing_it_each_time():
    nats = -np.log(np.array([1.0, 0.5, 0.001, 1e-30]))
    once = pytest.approx([1, 0.5, 0.001, 1e-30], rel=1e-12, abs=0)
    assert at_least_once(nats, 1) == once
    of_ten = pytest.approx([1, 1 - 2**-10, 1 - 0.999**10, 1e-29], rel=1e-12, abs=0)
    assert at_least_once(nats, 10) == of_ten


def test_shares_are_of_passages_and_of_those_that_are_not_repeated(net):
    whole = continued(net, prompt(1), 32)
    half = continued(net, prompt(2), 16) + prompt(7, 16)
    documents, passages, found = scored(net, [whole, half, prompt(4, 64), whole, [1, 2]])
    repeated = np.array([True, False, False, True])
    result = extraction(documents, passages, {32: found}, repeated)
    assert (result.passages, result.not_repeated, result.too_short) == (4, 2, 1)
    assert (result.extracted, result.extracted_once) == (0.5, 0.0)
    assert found.come_back[[0, 3]].tolist() == [32, 32]
    assert result.recalls[0].tokens == found.come_back.sum() / (4 * 32)
    assert result.come_back[0] == (found.come_back >= 1).mean()
    assert result.come_back[31] == 0.5
    assert len(result.recalls[0].at_least_once) == len(DRAWS)
    assert [(d.name, d.passages, d.extracted) for d in result.documents] == [
        ("train/0", 1, 1.0), ("train/3", 1, 1.0),
    ]  # fmt: skip
    everything = extraction(documents, passages, {32: found}, np.ones(4, bool))
    assert everything.extracted_once is None


@pytest.mark.parametrize(
    ("block_size", "length", "expected"),
    [(64, 70, [8, 16, 32]), (63, 70, [8, 16, 32]), (62, 70, [8, 16]), (64, 63, [8, 16]),
     (38, 70, []), (39, 70, [8])],
)  # fmt: skip
def test_a_prefix_fits_the_context_and_the_longest_document(block_size, length, expected):
    documents = Documents(Texts(train=[[0] * length]), ["train"], None)
    assert fitting_prefixes(block_size, documents) == expected


def test_a_span_is_followed_past_the_context_to_its_first_wrong_token(net):
    text = continued(net, prompt(1), 150)
    text[32 + 140] = (text[32 + 140] + 1) % V
    documents, passages, found = scored(net, [text, prompt(2, 80)])
    copies = np.ones(len(passages), np.int64)
    spans = longest_spans(Scorer(net), documents, passages, found, copies, TOKENIZER)
    first = spans[0]
    assert (first.document, first.split, first.position, first.tokens) == (
        "train/0",
        "train",
        32,
        140,
    )
    assert first.prefix == TOKENIZER.decode(text[:32])
    assert first.text == TOKENIZER.decode(text[32 : 32 + 140])
    assert first.probability == pytest.approx(np.exp(-found.nats[0]))
    # Passages that begin inside the span are parts of it.
    assert all(span.position - 32 >= 32 + 140 for span in spans[1:])


def test_a_span_ends_with_its_document(net):
    text = continued(net, prompt(1), 100)
    documents, passages, found = scored(net, [text, continued(net, text, 20)[132:]])
    copies = np.ones(len(passages), np.int64)
    (span,) = longest_spans(Scorer(net), documents, passages, found, copies, TOKENIZER)
    assert (span.position, span.tokens) == (32, 100)


def test_where_nothing_comes_back_whole_the_longest_parts_are_kept(net):
    parts = [continued(net, prompt(seed), n) + [0] * (32 - n) for seed, n in ((1, 9), (2, 20))]
    for part, n in zip(parts, (9, 20), strict=True):
        part[32 + n] = (continued(net, part[: 32 + n], 1)[-1] + 1) % V
    documents, passages, found = scored(net, parts)
    spans = longest_spans(Scorer(net), documents, passages, found, np.ones(2, np.int64), TOKENIZER)
    assert [(span.document, span.tokens) for span in spans] == [("train/1", 20), ("train/0", 9)]
