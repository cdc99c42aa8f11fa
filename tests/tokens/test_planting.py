"""Canaries are in the training split whole, as often as asked for, and change no other split."""

from collections import Counter
from pathlib import Path

import pytest

from minigpt.errors import UserError
from minigpt.text.canaries import CanariesConfig, make_canaries
from minigpt.tokens import writer
from minigpt.tokens.prepare import prepare
from minigpt.tokens.tokenizer import from_spec
from tests.tokens.mixtures import mixture

TWO = {"each": 2, "repeats": [1, 4, 9]}
HALF = {"fraction": 0.5, "seed": 1, "complement": False}
PLANTED = {
    canary.name: (canary.text, canary.repeats)
    for canary in make_canaries(CanariesConfig([1, 4, 9], each=2, seed=1))
}


def contents(store, split):
    """(domain, name, text) of each document of a split, without its end of text."""
    tokenizer = from_spec(store.manifest.tokenizer)
    ids = store.tokens(split)[:].tolist()
    return [
        (
            document.domain,
            document.name,
            tokenizer.decode(
                i for i in ids[document.start : document.start + document.tokens]
                if i != tokenizer.end_of_text
            ),
        )
        for document in store.documents(split)
    ]  # fmt: skip


def check_planted(plain, planted):
    """Every canary is in the training split as often as it should; all else is as without."""
    for split in ("val", "test"):
        assert contents(planted, split) == contents(plain, split) != []
    train = contents(planted, "train")
    copies = [document for document in train if document[0] == "canaries"]
    assert [document for document in train if document not in copies] == contents(plain, "train")
    assert Counter(copies) == {
        ("canaries", name, text): repeats for name, (text, repeats) in PLANTED.items()
    }
    assert planted.manifest.duplicates == plain.manifest.duplicates
    assert planted.manifest.held_out == plain.manifest.held_out
    assert planted.folder != plain.folder
    assert planted.verify() == []


@pytest.mark.parametrize(("tokenizer", "documents"), [("gpt2", 40), ("char", 40), ("char", 3)])
def test_canaries_change_nothing_but_the_training_text(forty, corpus, tokenizer, documents):
    (corpus / "41.txt").write_text((corpus / "01.txt").read_text())  # a duplicate
    for path in sorted(corpus.glob("*.txt"))[documents:]:
        path.unlink()
    check_planted(
        prepare(forty(tokenizer=tokenizer)).store,
        prepare(forty(tokenizer=tokenizer, canaries=TWO)).store,
    )


def test_they_are_planted_in_sources_with_splits_of_their_own(data):
    check_planted(
        prepare(data("sample", tokenizer="char")).store,
        prepare(data("sample", tokenizer="char", canaries=TWO)).store,
    )


def test_they_are_planted_in_a_mixture_and_count_for_no_source(data, tmp_path):
    sources = mixture(tmp_path)
    plain, planted = (
        prepare(data("mix", tokenizer="char", sources=sources, canaries=canaries)).store
        for canaries in (None, TWO)
    )
    check_planted(plain, planted)
    assert planted.manifest.domains["a"] == plain.manifest.domains["a"]


def test_a_canary_is_not_cut_to_document_tokens(forty):
    check_planted(
        prepare(forty(document_tokens=5)).store,
        prepare(forty(document_tokens=5, canaries=TWO)).store,
    )


def test_all_of_a_store_without_canaries_and_subset_is_as_it_was(data):
    """The name holds the fingerprint, and the shard's digest its bytes."""
    store = prepare(data("sample")).store
    assert store.folder.name == "sample-gpt2-e555b799bc343647"
    assert store.manifest.shards["train"][0]["sha256"] == (
        "7eb2b2af04e27e82a4c01330236445d9eed2b50fd7e87c60dd73cbb3b1af1e9a"
    )


def test_every_key_of_the_canaries_makes_another_store(forty):
    changes = ({}, {"seed": 2}, {"each": 3}, {"repeats": [1, 4]})
    stores = {prepare(forty(canaries={**TWO, **change})).store.folder for change in changes}
    assert len(stores) == 4
    assert not prepare(forty(canaries=TWO)).made


@pytest.mark.parametrize("changes", [{"canaries": TWO}, {"subset": HALF, "canaries": TWO},
                                     {"subset": HALF, "max_tokens": 2500}])  # fmt: skip
def test_a_stopped_preparation_goes_on_and_ends_byte_for_byte_the_same(
    forty, corpus, monkeypatch, changes
):
    monkeypatch.setattr(writer, "PART_TOKENS", 500)
    whole = prepare(forty(root=f"{corpus}/whole", **changes)).store.folder
    parts = len(list(whole.glob("train-*.bin")))
    assert parts > 5
    end_part = writer._Writer.end_part
    for stop in (2, 4):

        def stopping(self, stop=stop):
            if len(self.parts) == stop:
                raise KeyboardInterrupt
            end_part(self)

        with monkeypatch.context() as patch:
            patch.setattr(writer._Writer, "end_part", stopping)
            with pytest.raises(KeyboardInterrupt):
                prepare(forty(**changes))
    again = prepare(forty(**changes))
    assert again.made
    assert files(again.store.folder) == files(whole)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_max_tokens_ends_the_text_and_no_canary_is_lost(forty):
    store = prepare(forty(canaries=TWO, max_tokens=2500)).store
    assert store.manifest.tokens["train"] == 2500
    copies = Counter(name for domain, name, _ in contents(store, "train") if domain == "canaries")
    assert copies == {name: repeats for name, (_, repeats) in PLANTED.items()}


def test_max_tokens_too_few_for_the_canaries_are_refused(forty, corpus):
    message = r"\d+ of 28 copies do not fit into data.max_tokens=500; raise it, or plant fewer .*=2"
    with pytest.raises(UserError, match=message):
        prepare(forty(canaries=TWO, max_tokens=500))
    assert list(corpus.parent.glob("stores/files-*")) == []


def test_canaries_alone_are_no_text_to_train_on(forty, corpus):
    names = [f"{corpus}/*.txt"]
    with pytest.raises(UserError, match=r"every document is held out \(val 40, test 0\), none is"):
        prepare(forty(files=names, val_files=names, canaries=TWO))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"canaries": {"each": 0}}, "data.canaries.each must be at least 1, got 0"),
        ({"canaries": True}, "data.canaries must be int or dict or null, got True"),
        ({"canaries": 1, "source": "store"}, "data.canaries: a store that is made already keeps"),
        ({"subset": HALF, "source": "store"}, "data.subset: a store that is made already keeps"),
        ({"subset": 0.5}, "data.subset must be dict, got 0.5"),
        ({"subset": {**HALF, "fraction": 0}}, r"data.subset.fraction must lie in .0, 1., got 0"),
        ({"subset": {**HALF, "fraction": 1, "complement": True}}, "fraction=1 leaves out none; lo"),
        (
            {"subset": {**HALF, "seed": -1}},
            "data.subset.seed must be a whole number from 0",
        ),
        ({"subset": {**HALF, "sed": 1}}, "unknown key data.subset.sed; did you mean 'data.subset."),
        ({"subset": {**HALF, "complement": 1}}, "data.subset.complement must be bool, got 1"),
        ({"subset": {"fraction": 0.5}}, "data.subset.seed is missing"),
    ],
)
def test_wrong_settings_are_refused_by_key(forty, changes, message):
    with pytest.raises(UserError, match=message):
        forty(**changes)
