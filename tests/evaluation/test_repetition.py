"""Copies are counted as a search of the whole text would."""

import numpy as np

from minigpt.evaluation import repetition
from minigpt.evaluation.repetition import SPAN, count_copies, span_hashes


def brute_force(text, passage):
    spans = [passage[i : i + SPAN].tolist() for i in range(len(passage) - SPAN + 1)]
    places = [text[i : i + SPAN].tolist() for i in range(len(text) - SPAN + 1)]
    return max(places.count(span) for span in spans)


def test_copies_are_those_of_a_search(monkeypatch):
    rng = np.random.default_rng(1)
    text = rng.integers(0, 50, 600).astype(np.uint16)
    text[300:340] = text[100:140]  # twice
    text[500:520] = text[100:120]  # a part of it thrice
    text[400:440] = 7  # a run is its own copy
    passages = np.stack(
        [text[i : i + 32] for i in (0, 104, 120, 130, 404, 560)]
        + [rng.integers(50, 60, 32).astype(np.uint16), np.roll(text[0:32], 1)]
    )
    expected = [brute_force(text, passage) for passage in passages]
    assert expected == [1, 3, 2, 1, 25, 1, 0, 1]
    assert count_copies(text, passages).tolist() == expected
    monkeypatch.setattr(repetition, "CHUNK", 37)  # spans across two chunks count once
    assert count_copies(text, passages).tolist() == expected


def test_a_text_shorter_than_a_span_holds_none():
    assert count_copies(np.arange(9), np.arange(32)[None]).tolist() == [0]
    assert span_hashes(np.arange(SPAN)).shape == (1,)
    assert span_hashes(np.arange(SPAN - 1)).shape == (0,)
