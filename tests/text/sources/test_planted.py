"""Canaries are spread over what may be trained on, and change nothing else."""

from itertools import pairwise

import pytest

from minigpt.text.canaries import CanariesConfig, make_canaries
from minigpt.text.document import Document
from minigpt.text.opening import BytesRead
from minigpt.text.source import Source
from minigpt.text.sources.planted import PlantedSource

CANARIES = make_canaries(CanariesConfig([1, 4, 16, 64], each=2, seed=1))


class Texts(Source):
    """Three held-out documents, then numbered ones of ten characters, every other in pieces."""

    identity: list[str] = ["texts"]  # noqa: RUF012
    bytes = None

    def __init__(self, count):
        self.count = count

    def documents(self, read):
        for i in range(3):
            yield Document(f"held out {i}", "held out", "d", "val")
        for i in range(self.count):
            text = f"{i:010}"
            yield Document(f"{i}", iter([text[:4], text[4:]]) if i % 2 else text, "d")


def planted(count, seed=1, max_chars=None):
    source = PlantedSource(Texts(count), CANARIES, seed, max_chars)
    return list(source.documents(BytesRead()))


@pytest.mark.parametrize("count", [0, 1, 7, 1000])
def test_every_copy_is_planted_and_every_other_document_is_left_as_it_is(count):
    documents = planted(count)
    others = [(d.name, "".join(d.pieces()), d.split) for d in documents if not d.planted]
    expected = Texts(count).documents(BytesRead())
    assert others == [(d.name, "".join(d.pieces()), d.split) for d in expected]
    for canary in CANARIES:
        copies = [d for d in documents if d.name == canary.name]
        assert len(copies) == canary.repeats
        assert {(d.text, d.domain, d.split) for d in copies} == {(canary.text, "canaries", "train")}


def test_the_copies_of_a_canary_are_spread_evenly_over_the_training_text():
    documents = planted(1000)
    others = [i for i, d in enumerate(documents) if not d.planted]
    starts = []
    for canary in CANARIES:
        at = [
            sum(other < i for other in others) - 3  # training documents before the copy
            for i, d in enumerate(documents)
            if d.name == canary.name
        ]
        gap = 1000 / canary.repeats
        assert all(abs(b - a - gap) <= 1 for a, b in pairwise(at))
        assert 0 <= at[0] <= gap
        starts.append(at[0] / gap)
    assert max(starts) - min(starts) > 0.3  # each begins somewhere else


def test_places_follow_from_the_seed():
    names = [[d.name for d in planted(100, seed)] for seed in (1, 1, 2)]
    assert names[0] == names[1] != names[2]


def test_every_copy_comes_before_the_text_is_too_long():
    documents = planted(1000, max_chars=300)
    after = [d.name for d in documents].index("30")
    assert sum(d.planted for d in documents[:after]) == 2 * 85
    assert sum(d.planted for d in documents[: [d.name for d in documents].index("15")]) > 50
