"""Passages lie inside documents, evenly, and the same seed gives the same ones."""

import numpy as np

from minigpt.evaluation.passages import Documents
from tests.texts import Texts

END = 99


def found(documents, *arguments, **more):
    return [
        (p.split, p.document.name, p.position, p.ids.tolist())
        for p in documents.passages(*arguments, **more)
    ]


def test_every_passage_inside_a_document_is_found():
    texts = Texts(val=[[1, 2, 3, END], [4, END]], test=[[5, 6, END]])
    documents = Documents(texts, ["val", "test"], END)
    assert documents.tokens == 6
    assert documents.count_shorter(2) == 1
    assert documents.count_passages(2) == 3
    assert found(documents, 2, 10, 0) == [
        ("val", "val/0", 0, [1, 2]),
        ("val", "val/0", 1, [2, 3]),
        ("test", "test/0", 0, [5, 6]),
    ]
    assert [end.end for end in documents.passages(1, 9, 0)] == [3, 3, 3, 1, 2, 2]


def test_passages_of_a_step_do_not_overlap():
    documents = Documents(Texts(train=[[*range(7)], [*range(10, 14)]]), ["train"], None)
    assert [(p, ids) for _, _, p, ids in found(documents, 3, 9, 0, step=3)] == [
        (0, [0, 1, 2]), (3, [3, 4, 5]), (0, [10, 11, 12]),
    ]  # fmt: skip


def test_documents_without_an_end_keep_their_last_token():
    assert Documents(Texts(train=[[1, 2], [3]]), ["train"], END).lengths.tolist() == [2, 1]


def test_a_sample_is_even_and_follows_from_the_seed():
    documents = Documents(Texts(train=[[0] * 300, [0] * 5, [0] * 700]), ["train"], None)
    places = [
        [p.document.start + p.position for p in documents.passages(10, 50, seed)]
        for seed in (1, 1, 2)
    ]
    assert places[0] == places[1] != places[2]
    assert len(set(places[0])) == 50
    steps = np.diff([p for p in places[0] if p >= 305])
    assert {19, 20} >= set(steps.tolist()) or set(steps.tolist()) <= {19, 20}


def test_without_documents_there_are_no_passages():
    assert Documents(Texts(), ["train"], END).passages(3, 10, 0) == []
