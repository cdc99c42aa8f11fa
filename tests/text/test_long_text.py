"""Long text goes through in pieces that have the ids of the whole."""

import random

import pytest

from minigpt.text import long_text
from minigpt.text.long_text import recut
from minigpt.tokens.tokenizer import load_tokenizer

# Fragments at whose borders a tokenizer treats words, digits, signs and spaces differently.
FRAGMENTS = ["word", " ", "  ", "\n", "\n\n", "it's", "12345", "--", "!\n", "é", "漢字", "\t"]
FRAGMENTS += ["_x", "'re", " the", " 7", "\nnew"]


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(long_text, "PIECE_CHARS", 256)


def test_pieces_have_the_ids_of_the_whole(small_pieces):
    gpt2 = load_tokenizer("gpt2")
    for seed in range(100):
        text = "".join(random.Random(seed).choices(FRAGMENTS, k=1500))
        pieces = list(recut([text]))
        assert "".join(pieces) == text
        assert len(pieces) > 5
        assert [i for piece in pieces for i in gpt2.encode(piece)] == gpt2.encode(text)


def test_text_without_an_end_of_a_word_is_cut_all_the_same(small_pieces):
    assert [len(piece) for piece in recut(["x" * 800])] == [256, 256, 256, 32]


def test_how_text_arrives_does_not_change_where_it_is_cut(small_pieces):
    text = "the tide comes in and the tide goes out " * 80
    arriving = [text[i : i + 7] for i in range(0, len(text), 7)]
    assert list(recut(arriving)) == list(recut([text]))
