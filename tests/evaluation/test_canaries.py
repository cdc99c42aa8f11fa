"""A network that memorises gives canaries away, the more copies the more."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from minigpt.evaluation.canaries import canary_exposures
from minigpt.evaluation.trained_model import load_model, training_store
from minigpt.model.gpt import GPT, GPTConfig
from minigpt.runs.run_folder import RunFolder
from minigpt.statistics.exposure import CHANCE
from minigpt.tokens.prepare import prepare
from minigpt.tokens.tokenizer import from_spec
from tests.trained import trained

PLANTED = "data.canaries={each: 3, repeats: [1, 8, 64]}"


def newly_trained(type_train, overrides, path="run"):
    """The model and the training text of a run that was just made."""
    typed = type_train(*overrides, f"hydra.run.dir={path}", "~callbacks.samples")
    assert (typed.code, typed.err) == (0, "")
    model = load_model(RunFolder(path).path, "last")
    return model, training_store(RunFolder(path), model)


def test_exposure_grows_with_copies_in_a_run_that_memorises(tiny, type_train):
    memorising = ["model.n_embd=32", "model.block_size=40", "trainer.max_epochs=6",
                  "optimizer.lr=5e-3", "model.dropout=0"]  # fmt: skip
    model, store = newly_trained(type_train, [*tiny, *memorising, PLANTED])
    result = canary_exposures(model, store, references=511)
    assert [canary.repeats for canary in result.canaries] == [1, 1, 1, 8, 8, 8, 64, 64, 64]
    names = [canary.name for canary in result.canaries[3:6]]
    assert names == ["canary 8x #1", "canary 8x #2", "canary 8x #3"]
    means = {repeats: extrapolated for repeats, (_, extrapolated) in result.means().items()}
    assert result.is_monotone
    assert means[1] < 5 < means[64] - 5
    assert all(canary.rank == 1 and canary.sampled == 9 for canary in result.canaries[6:])
    for canary in result.canaries:
        assert canary.text.startswith("The random number is ")
        assert 0 <= canary.sampled <= 9
        assert 0 <= canary.extrapolated <= math.log2(10**12)
    # A string that fits into the context is read at once.
    canary = result.canaries[0]
    ids = torch.tensor(model.tokenizer.encode(canary.text))
    nats = F.cross_entropy(model.net(ids[None, :-1])[0], ids[1:], reduction="sum")
    assert canary.nats == pytest.approx(nats.item(), abs=1e-3)


def untrained(store, vocab_size=None):
    """A network that has seen nothing of a store."""
    tokenizer = from_spec(store.manifest.tokenizer)
    torch.manual_seed(1)
    shape = GPTConfig(
        n_layer=1, n_head=2, n_embd=16, mlp_ratio=2, block_size=8,
        vocab_size=vocab_size or tokenizer.n_vocab, dropout=0.0, embd_dropout=0.0, bias=True,
        head_bias=True, tie_weights=False,
        positions="learned", init="torch",
    )  # fmt: skip
    return trained(GPT(shape), tokenizer, text=store.manifest.fingerprint)


def test_a_network_that_has_not_seen_them_gives_nothing_away(data):
    """Strings longer than its context are scored whole, too."""
    store = prepare(data("sample", tokenizer="char", canaries={"each": 30, "repeats": [1]})).store
    result = canary_exposures(untrained(store), store, references=255)
    sampled, extrapolated = result.means()[1]
    assert sampled == pytest.approx(CHANCE, abs=0.8)
    assert extrapolated == pytest.approx(CHANCE, abs=0.8)
    assert result.references == 255
    assert result.space == 10**12


def test_strings_beyond_a_cut_vocabulary_are_not_compared_with(data):
    store = prepare(data("sample", canaries={"each": 1, "repeats": [1]})).store
    (planted,) = (d for d in store.documents("train") if d.domain == "canaries")
    ids = store.tokens("train")[planted.start : planted.start + planted.tokens]
    needed = int(ids.max()) + 1
    result = canary_exposures(untrained(store, needed), store, references=400)
    assert result.references == 400


def test_a_store_without_canaries_has_no_exposures(data, tmp_path):
    """A folder of that name is a domain like any other."""
    (tmp_path / "canaries").mkdir()
    for i in range(9):
        (tmp_path / "canaries" / f"canary {i}.txt").write_text(f"the tide {i}")
    for config in (data("sample"), data(files=[f"{tmp_path}/canaries/*.txt"])):
        store = prepare(replace(config, tokenizer="char")).store
        assert canary_exposures(untrained(store), store) is None
