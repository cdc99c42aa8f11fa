"""The figures of a text are those that a plain loop over its documents gives."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from minigpt.errors import UserError
from minigpt.evaluation.context_losses import ContextLoss, ContextMeter
from minigpt.evaluation.document_scores import DocumentScore, total, totals_by_domain
from minigpt.evaluation.evaluate import evaluate
from minigpt.evaluation.windows import WindowScores
from minigpt.model.gpt import GPT, GPTConfig
from minigpt.tokens.prepare import prepare
from minigpt.tokens.tokenizer import from_spec, load_tokenizer
from tests.stores import write_store
from tests.trained import trained


def network(vocab_size, block_size=8):
    torch.manual_seed(1)
    return GPT(
        GPTConfig(
            n_layer=2, n_head=2, n_embd=16, mlp_ratio=4, block_size=block_size,
            vocab_size=vocab_size, dropout=0.1, embd_dropout=0.1, bias=True, head_bias=False,
            tie_weights=False, positions="learned", init="torch",
        )
    ).eval()  # fmt: skip


@pytest.fixture
def numbers(tmp_path):
    """A store of a hundred characters with three documents to train on, and a network for it."""
    store = write_store(tmp_path / "store", [*range(40)], [7], [*range(60, 90)])
    tokenizer = from_spec(store.manifest.tokenizer)
    return store, trained(network(100), tokenizer)


def test_each_document_is_scored_on_its_own_and_only_its_first_token_is_not(numbers):
    store, model = numbers
    result = evaluate(model, store, ["train"], stride=3).splits["train"]
    for document, ids in zip(result.documents, ([*range(40)], [7], [*range(60, 90)]), strict=True):
        nats, right = [], 0
        for i in range(1, len(ids)):
            # Windows of 8 inputs that end every 3 tokens after the first.
            end = 8 if i <= 8 else min(len(ids) - 1, 8 + 3 * math.ceil((i - 8) / 3))
            start = max(0, min(end, len(ids) - 1) - 8)
            logits = model.net(torch.tensor([ids[start:i]]))[0, -1]
            nats.append(F.cross_entropy(logits, torch.tensor(ids[i])).item())
            right += int(logits.argmax()) == ids[i]
        assert document.nats == pytest.approx(sum(nats), abs=1e-4)
        assert document.tokens == document.bytes == len(nats)
        assert document.correct_at_1 == right
        assert document.correct_at_1 <= document.correct_at_5 <= document.tokens
    assert result.total.documents == 2  # the document of one token has nothing to score
    assert sum(context.tokens for context in result.contexts) == 39 + 29


def test_bytes_are_those_of_the_text_and_separators_are_not_counted(data, tmp_path):
    texts = ["naïve 東京 🙂 words\n", "plain <|endoftext|> text", "a third one, to train on"]
    paths = [tmp_path / f"{i}.txt" for i in range(3)]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text, "utf-8")
    config = data(files=[str(paths[2])], val_files=[str(paths[0])], test_files=[str(paths[1])])
    store = prepare(config).store
    model = trained(network(50257), load_tokenizer("gpt2"))
    evaluation = evaluate(model, store)
    for split, text in (("val", texts[0]), ("test", texts[1])):
        (document,) = evaluation.splits[split].documents
        assert document.bytes == len(text.encode())
        assert document.tokens == len(model.tokenizer.encode(text))
        assert document.name == str(paths[0 if split == "val" else 1])
        figures = evaluation.splits[split].total
        assert figures.bits_per_byte == pytest.approx(
            document.nats / math.log(2) / len(text.encode())
        )
        assert math.isnan(figures.bits_per_byte_stderr)
    assert evaluation.held_out == "test"
    assert evaluation.scores_first_token


def test_totals_by_hand():
    documents = [
        DocumentScore("test", "a", "web", 1, 4, 2 * math.log(2), 1, 1),
        DocumentScore("test", "b", "web", 3, 12, 9 * math.log(2), 0, 2),
        DocumentScore("test", "c", "books", 1, 4, 4 * math.log(2), 0, 0),
        DocumentScore("test", "empty", "books", 0, 0, 0.0, 0, 0),
    ]
    figures = total(documents)
    assert (figures.documents, figures.tokens, figures.bytes) == (3, 5, 20)
    assert figures.loss == pytest.approx(3 * math.log(2))
    assert figures.perplexity == pytest.approx(8)
    assert figures.bits_per_byte == pytest.approx(0.75)
    assert figures.bits_per_byte_stderr == pytest.approx(math.sqrt(3) / 20)
    assert figures.loss_stderr == pytest.approx(math.log(2) * math.sqrt(3) / 5)
    assert (figures.accuracy_at_1, figures.accuracy_at_5) == (0.2, 0.6)
    domains = totals_by_domain(documents)
    assert [(name, of.tokens) for name, of in domains.items()] == [("web", 4), ("books", 1)]
    assert domains["web"].bits_per_byte == pytest.approx(11 / 16)


def test_contexts_are_binned_by_powers_of_two_up_to_the_block_size():
    meter = ContextMeter(6)
    context = np.array([1, 2, 3, 4, 5, 6, 6], np.int32)
    nats = np.array([9, 8, 7, 5, 4, 2, 3], np.float32)
    meter.add(WindowScores(nats, np.zeros(7, np.int32), context))
    meter.add(WindowScores(nats[:1], np.zeros(1, np.int32), context[:1]))
    assert meter.losses() == [
        ContextLoss(1, 1, 2, 9.0),
        ContextLoss(2, 2, 1, 8.0),
        ContextLoss(3, 4, 2, 6.0),
        ContextLoss(5, 6, 3, 3.0),
    ]
    assert ContextMeter(6).losses() == []


def test_a_limit_cuts_the_last_document_and_leaves_out_the_rest(numbers):
    store, model = numbers
    whole = evaluate(model, store, ["train"]).splits["train"]
    limited = evaluate(model, store, ["train"], limits={"train": 50}).splits["train"]
    assert limited.documents[:2] == whole.documents[:2]
    assert limited.documents[2].tokens == 50 - 40 - 1 - 1
    first = evaluate(model, store, ["train"], limits={"train": 40}).splits["train"]
    assert [document.tokens for document in first.documents] == [39]
    assert first.documents_in_all == 3


def test_tf32_of_a_training_does_not_reach_an_evaluation(numbers, monkeypatch):
    store, model = numbers
    seen = []
    hidden = GPT.hidden
    monkeypatch.setattr(
        GPT,
        "hidden",
        lambda *arguments: (
            seen.append(torch.get_float32_matmul_precision()),
            hidden(*arguments),
        )[1],
    )
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        evaluate(model, store, ["train"])
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)
    assert set(seen) == {"highest"}


def test_what_cannot_be_scored_is_refused(numbers):
    store, model = numbers
    for stride in (0, 9):
        with pytest.raises(UserError, match=f"stride must lie between 1 and 8, .* got {stride}"):
            evaluate(model, store, ["train"], stride=stride)
    with pytest.raises(UserError, match="val and test have no token to score; .* train 3, val 0"):
        evaluate(model, store)
    small = trained(network(80), model.tokenizer)
    with pytest.raises(UserError, match="2 has the token id 89, the model knows 80 ids"):
        evaluate(small, store, ["train"])
