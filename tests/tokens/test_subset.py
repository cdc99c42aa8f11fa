"""A subset is a share of the training documents that their text and a seed choose."""

import pytest

from minigpt.errors import UserError
from minigpt.tokens.prepare import prepare
from minigpt.tokens.split import Digest
from minigpt.tokens.subset import Subset

HALF = {"fraction": 0.5, "seed": 1, "complement": False}


def names(store):
    """Domain, name and size of each training document."""
    return [(doc.domain, doc.name, doc.tokens) for doc in store.documents("train")]


def test_a_subset_holds_its_fraction_of_all_texts_and_seeds_are_independent():
    texts = [Digest(str(i)) for i in range(4000)]
    held = {seed: [Subset(0.3, seed, False).holds(text) for text in texts] for seed in (1, 2)}
    both = sum(a and b for a, b in zip(held[1], held[2], strict=True))
    assert sum(held[1]) == pytest.approx(1200, abs=100)
    assert both == pytest.approx(360, abs=60)
    assert [Subset(0.3, 1, True).holds(text) for text in texts] == [not held for held in held[1]]


def test_a_subset_and_its_complement_are_all_training_documents(forty):
    whole = prepare(forty()).store
    half, other = (
        prepare(forty(subset=subset)).store for subset in (HALF, {**HALF, "complement": True})
    )
    assert 5 < len(names(half)) < len(names(whole)) - 5
    assert [name for name in names(whole) if name in names(half)] == names(half)
    assert [name for name in names(whole) if name not in names(half)] == names(other)
    for split in ("val", "test"):
        for store in (half, other):
            assert (store.tokens(split)[:] == whole.tokens(split)[:]).all()
    assert len({whole.folder, half.folder, other.folder}) == 3
    counts = half.manifest.documents
    assert half.manifest.domains["corpus"]["documents"] == sum(counts.values())


def test_max_tokens_ends_the_text_of_every_subset_at_the_same_document(forty):
    whole = prepare(forty(max_tokens=1500)).store
    halves = [
        prepare(forty(max_tokens=1500, subset={**HALF, "complement": complement})).store
        for complement in (False, True)
    ]
    assert sorted(names(whole)) == sorted([*names(halves[0]), *names(halves[1])])
    assert sum(half.manifest.tokens["train"] for half in halves) == 1500


def test_canaries_are_in_every_subset(forty):
    for complement in (False, True):
        subset = {**HALF, "complement": complement}
        store = prepare(forty(subset=subset, canaries={"each": 1, "repeats": [7]})).store
        assert [name for _, name, _ in names(store)].count("canary 7x #1") == 7


def test_a_subset_without_documents_is_one_line(forty, corpus):
    message = "data.subset: none of the .* training documents is in it; raise data.subset.fraction"
    with pytest.raises(UserError, match=message):
        prepare(forty(subset={**HALF, "fraction": 1e-9}))
    assert list(corpus.parent.glob("stores/files-*")) == []
