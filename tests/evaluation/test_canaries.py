"""A network that memorises gives canaries away, the more copies the more."""

import math

import pytest
import torch
import torch.nn.functional as F

from minigpt.evaluation.canaries import canary_exposures
from minigpt.evaluation.trained_model import load_model, training_store
from minigpt.runs.run_folder import RunFolder

PLANTED = "data.canaries={each: 3, repeats: [1, 8, 64]}"


def trained(type_train, overrides, path="run"):
    """The model and the training text of a run that was just made."""
    typed = type_train(*overrides, f"hydra.run.dir={path}", "~callbacks.samples")
    assert (typed.code, typed.err) == (0, "")
    model = load_model(RunFolder(path).path, "last")
    return model, training_store(RunFolder(path), model)


def test_exposure_grows_with_copies_in_a_run_that_memorises(tiny, type_train):
    memorising = ["model.n_embd=32", "model.block_size=40", "trainer.max_epochs=6",
                  "optimizer.lr=5e-3", "model.dropout=0"]  # fmt: skip
    model, store = trained(type_train, [*tiny, *memorising, PLANTED])
    result = canary_exposures(model, store, references=511)
    assert [canary.repeats for canary in result.canaries] == [1, 1, 1, 8, 8, 8, 64, 64, 64]
    assert [canary.name for canary in result.canaries[3:6]] == [
        f"canary 8x #{i}" for i in (1, 2, 3)
    ]
    means = {repeats: extrapolated for repeats, (_, extrapolated) in result.means().items()}
    print(result.means())
    assert result.is_monotone
    assert means[64] > means[1] + 5
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
