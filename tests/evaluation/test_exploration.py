"""What an exploration says of documents is what the networks say of them."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from minigpt.errors import UserError
from minigpt.evaluation.exploration import explore
from minigpt.evaluation.exploration_figures import exploration_figures
from minigpt.evaluation.shared_text import shared_store
from minigpt.runs.run_folder import RunFolder
from tests.explorations import model, stored

HELD_OUT = ["The sea rises twice a day.", "It falls twice as well. " * 4]


def test_every_token_of_a_document_has_the_loss_that_torch_gives_it(data, tmp_path):
    store = stored(data, tmp_path / "text", HELD_OUT)
    first, second = model(store, 1), model(store, 2, block_size=64)
    found = explore([first, second], store)
    assert [(part.split, len(part.excerpts)) for part in found.splits] == [("val", 2), ("train", 2)]
    assert [e.split for e in found.excerpts] == ["val", "val", "train", "train"]
    texts = [first.tokenizer.decode(excerpt.ids.tolist()) for excerpt in found.excerpts]
    assert sorted(texts[:2]) == sorted(HELD_OUT)
    assert found.separator == 50256
    short = texts.index(HELD_OUT[0])  # fits a block of either network
    ids = torch.tensor([50256, *found.excerpts[short].ids.tolist()])
    for trained, reading in zip((first, second), found.readings, strict=True):
        nats = F.cross_entropy(trained.net(ids[None, :-1])[0], ids[1:], reduction="none")
        np.testing.assert_allclose(reading.rows[short].nats, nats.detach(), atol=1e-5)
        assert [len(rows.nats) for rows in reading.rows] == [len(e.ids) for e in found.excerpts]
        assert reading.attention.keys() == {0, 1, 2, 3}


def test_figures_are_means_over_the_tokens_of_a_split(data, tmp_path):
    store = stored(data, tmp_path / "text", HELD_OUT)
    found = explore([model(store)], store)
    rows = found.readings[0].rows
    rows[0].rank[:] = 1
    rows[1].rank[:] = [0] * 16 + [1] + [0] * (len(rows[1].rank) - 17)
    held_out, train = exploration_figures(found)
    (run,) = held_out["runs"]
    assert run["loss"] == pytest.approx(float(np.mean([*rows[0].nats, *rows[1].nats])))
    spans = [n for n in (16, len(rows[1].rank) - 17) if n >= 16]
    assert (run["known_spans"], run["longest_span"]) == (len(spans), max(spans))
    assert run["known_share"] == pytest.approx(sum(spans) / held_out["tokens"])
    assert (train["split"], train["documents"], train["of_documents"]) == ("train", 2, 2)


def test_documents_are_cut_where_they_are_many_or_long(data, tmp_path, monkeypatch):
    store = stored(data, tmp_path / "text", ["word " * 300, "Rain."], ["Train."])
    monkeypatch.setattr("minigpt.evaluation.exploration.TOKEN_BUDGET", 100)
    found = explore([model(store)], store)
    lengths = {e.document_tokens: len(e.ids) for e in found.excerpts}
    assert max(lengths.values()) == found.cut
    assert 90 < sum(lengths.values()) <= 100
    halved = explore([model(store), model(store, 2)], store)
    assert sum(len(e.ids) for e in halved.excerpts) <= 50
    shorter = found.shortened(5)
    assert [len(rows.nats) for rows in shorter.readings[0].rows] == [
        len(e.ids) for e in shorter.excerpts
    ]
    assert max(len(e.ids) for e in shorter.excerpts) == 5


def test_training_documents_alone_stand_alone(data, tmp_path):
    store = stored(data, tmp_path / "text", HELD_OUT)
    found = explore([model(store)], store, split="train", documents=1)
    assert [(part.split, len(part.excerpts)) for part in found.splits] == [("train", 1)]


def test_without_a_separator_the_first_token_is_not_scored(data, tmp_path):
    store = stored(lambda **more: data(tokenizer="char", **more), tmp_path / "text", HELD_OUT)
    found = explore([model(store)], store)
    assert found.separator is None
    assert [len(rows.nats) + 1 for rows in found.readings[0].rows] == [
        len(e.ids) for e in found.excerpts
    ]
    assert [len(rows.nats) for rows in found.shortened(5).readings[0].rows] == [4, 4, 4, 4]


def test_what_cannot_be_explored_is_one_line(data, tmp_path):
    store = stored(data, tmp_path / "text", HELD_OUT)
    chars = stored(lambda **more: data(tokenizer="char", **more), tmp_path / "text", HELD_OUT)
    first, second = model(store), model(chars)
    runs = [RunFolder("a"), RunFolder("b")]
    with pytest.raises(UserError, match="^a and b have different tokenizers .*gpt2 .*char "):
        shared_store(runs, [first, second])
    other = stored(data, tmp_path / "other", ["Another text."])
    with pytest.raises(UserError, match="^a and b were trained on different texts .*data="):
        shared_store(runs, [first, model(other)])
    with pytest.raises(UserError, match="^1.ckpt has another tokenizer .char .* than the text"):
        explore([second], store)
    small = model(store, vocab_size=100)
    with pytest.raises(UserError, match="^1.ckpt knows 100 ids, but the text .* has id "):
        explore([small], store)
    with pytest.raises(UserError, match="split test has no document long enough to show, of 0; "):
        explore([first], store, "test")
    with pytest.raises(UserError, match="^--documents must lie between 1 and 5,000, got 0"):
        explore([first], store, documents=0)
    first.net.head.weight.data[0, 0] = float("nan")
    with pytest.raises(UserError, match="^1.ckpt: the loss of a token is not a finite number"):
        explore([first], store)
