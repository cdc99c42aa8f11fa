"""A store is named by what is in it, and is there whole or not at all."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from minigpt.errors import UserError
from minigpt.tokens import prepare as preparing
from minigpt.tokens.prepare import CorpusConfig, prepare
from minigpt.tokens.sources import SPLITS
from minigpt.tokens.split import HeldOut
from minigpt.tokens.tokenizer import load_tokenizer


@pytest.fixture
def config(corpus, tmp_path):
    return CorpusConfig(
        source="files",
        files=[f"{corpus}/*.txt"],
        val_files=[],
        test_files=[],
        val_fraction=0.2,
        test_fraction=0.2,
        tokenizer="gpt2",
        document_tokens=None,
        end_of_text=True,
        root=str(tmp_path / "stores"),
    )


def test_a_store_holds_every_document_whole_in_one_split(config, corpus):
    store, gpt2 = prepare(config), load_tokenizer("gpt2")
    texts = []
    for split in SPLITS:
        tokens = store.tokens(split)
        assert tokens.dtype == np.uint16
        assert tokens[-1] == 50256
        found = gpt2.decode(tokens.tolist()).split("<|endoftext|>")[:-1]
        assert len(found) == store.manifest.documents[split] > 0
        assert {HeldOut(0.2, 0.4).split(text) for text in found} == {split}
        texts += found
    assert sorted(texts) == sorted(path.read_text() for path in corpus.glob("*.txt"))
    assert store.manifest.largest_id == 50256


def test_the_shipped_sample_is_report_a_in_kind(tmp_path, config):
    sample = dataclasses.replace(
        config, source="sample", files=[], document_tokens=512, end_of_text=False
    )
    manifest = prepare(sample).manifest
    assert manifest.tokens == {"train": 5120, "val": 1536, "test": 1536}
    assert manifest.largest_id + 1 == 49805


def test_the_same_text_is_the_same_store_and_is_not_made_again(config, monkeypatch):
    first = prepare(config)
    monkeypatch.setattr(preparing, "_write", None)
    assert prepare(config).folder == first.folder


@pytest.mark.parametrize(
    "change",
    [
        {"tokenizer": "char"},
        {"val_fraction": 0.5},
        {"document_tokens": 5},
        {"end_of_text": False},
    ],
)
def test_another_setting_is_another_store(config, change):
    assert prepare(dataclasses.replace(config, **change)).folder != prepare(config).folder


def test_changed_text_is_another_store(config, corpus):
    before = prepare(config).folder
    (corpus / "00.txt").write_text("something else")
    assert prepare(config).folder != before


def test_a_preparation_that_fails_leaves_nothing_behind(config, monkeypatch):
    def fail(*_args):
        raise RuntimeError("disk on fire")

    monkeypatch.setattr(preparing, "Manifest", fail)
    with pytest.raises(RuntimeError, match="disk on fire"):
        prepare(config)
    assert list(Path(config.root).iterdir()) == []


def test_documents_are_cut_to_document_tokens(config):
    store = prepare(dataclasses.replace(config, document_tokens=3, end_of_text=False))
    for split in SPLITS:
        assert store.manifest.tokens[split] == 3 * store.manifest.documents[split]


def test_an_empty_corpus_is_refused(config, corpus):
    (corpus / "empty.txt").write_text("")
    empty = dataclasses.replace(config, files=[f"{corpus}/empty.txt"], end_of_text=False)
    with pytest.raises(UserError, match="data.source=files: the corpus is empty"):
        prepare(empty)
    assert list(Path(config.root).iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "web"}, "data.source=web is not one of sample, stdlib, files"),
        ({"val_fraction": 1.0}, r"data.val_fraction must lie in \[0, 1\), got 1.0"),
        ({"val_fraction": 0.5, "test_fraction": 0.5}, "leaves nothing to train on"),
        ({"document_tokens": 0}, "data.document_tokens must be above 0, got 0"),
        ({"files": "a.txt"}, "data.files must be list, got 'a.txt'"),
    ],
)
def test_wrong_settings_are_refused_by_key(config, change, message):
    with pytest.raises(UserError, match=message):
        dataclasses.replace(config, **change)
