"""Excerpts are spread over a split, and cut so that they fit together."""

import pytest

from minigpt.evaluation.excerpts import longest_cut, split_excerpts
from minigpt.tokens.prepare import prepare
from minigpt.tokens.tokenizer import from_spec
from tests.stores import write_store


def chosen(store, documents, tokens=100):
    tokenizer = from_spec(store.manifest.tokenizer)
    return split_excerpts(store, tokenizer, "train", documents, tokens)


def test_documents_are_spread_over_the_split_and_short_ones_left_out(tmp_path):
    lengths = [3, 2, 5, 0, 4, 9, 1, 3, 3]
    store = write_store(tmp_path / "store", *([i] * length for i, length in enumerate(lengths)))
    found = chosen(store, 3, tokens=4)
    assert [(e.name, e.ids.tolist(), e.document_tokens) for e in found.excerpts] == [
        ("0", [0, 0, 0], 3), ("4", [4, 4, 4, 4], 4), ("7", [7, 7, 7], 3),
    ]  # fmt: skip
    assert (found.documents, found.too_short) == (9, 3)
    assert [e.name for e in chosen(store, 100).excerpts] == ["0", "2", "4", "5", "7", "8"]


def test_the_id_that_ends_a_document_is_not_part_of_it(data, tmp_path):
    (tmp_path / "a.txt").write_text("Twice a day the sea rises.")
    (tmp_path / "b.txt").write_text("Twice a day the sea falls.")
    store = prepare(data(files=[f"{tmp_path}/*.txt"], val_fraction=0.0, test_fraction=0.0)).store
    tokenizer = from_spec(store.manifest.tokenizer)
    texts = [tokenizer.decode(e.ids.tolist()) for e in chosen(store, 2).excerpts]
    assert sorted(texts) == ["Twice a day the sea falls.", "Twice a day the sea rises."]


@pytest.mark.parametrize(
    ("lengths", "budget", "expected"),
    [
        ([5, 5], 100, 5),
        ([5, 5], 8, 4),
        ([1, 9, 9], 11, 5),
        ([1, 9, 9], 12, 5),
        ([10], 3, 3),
        ([10, 10, 10], 2, 1),
    ],
)
def test_documents_are_cut_as_late_as_their_sum_allows(lengths, budget, expected):
    assert longest_cut(lengths, budget) == expected
