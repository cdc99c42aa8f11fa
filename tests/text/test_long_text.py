"""Long text goes through in pieces, and comes to the same ids."""

import itertools
import json
import random

import pytest

from minigpt.text import long_text
from minigpt.text.long_text import LongRecord, recut
from minigpt.tokens.tokenizer import load_tokenizer

ODD = [
    "word",
    " ",
    "  ",
    "\n",
    "\n\n",
    "it's",
    "12345",
    "--",
    "!\n",
    "é",
    "漢字",
    "\t",
    "_x",
    "'re",
]
ODD += [" the", " 7", "\nnew"]


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(long_text, "PIECE_CHARS", 256)


def test_pieces_have_the_ids_of_the_whole(small_pieces):
    gpt2 = load_tokenizer("gpt2")
    for seed in range(100):
        text = "".join(random.Random(seed).choices(ODD, k=1500))
        pieces = list(recut([text]))
        assert "".join(pieces) == text
        assert len(pieces) > 5
        assert [i for piece in pieces for i in gpt2.encode(piece)] == gpt2.encode(text)


def test_text_without_an_end_of_a_word_is_cut_all_the_same(small_pieces):
    assert [len(piece) for piece in recut(["x" * 800])] == [256, 256, 256, 32]


def test_how_text_arrives_does_not_change_where_it_is_cut(small_pieces):
    text = "the tide comes in and the tide goes out " * 80
    arriving = ["".join(part) for part in itertools.batched(text, 7)] if hasattr(
        itertools, "batched") else [text[i : i + 7] for i in range(0, len(text), 7)]  # fmt: skip
    assert list(recut(arriving)) == list(recut([text]))


def reader(content, size):
    parts = [content[i : i + size] for i in range(0, len(content), size)]
    return lambda: parts.pop(0) if parts else b""


TRICKY = 'a "quoted" \\ back\\\\slash \n line \u00e9 \u6f22 \U0001f600 / \t end\\'


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
@pytest.mark.parametrize("ascii", [True, False])
def test_a_field_is_read_as_json_reads_it(size, ascii):
    record = {
        "a": {"text": "not this", "list": [1, -2.5e3, None, {"b": "}"}]},
        "text\u00e9": "nor this",
        "text": TRICKY * 20,
        "after": ["]", {"text": "}"}],
    }
    line = json.dumps(record, ensure_ascii=ascii).encode()
    read = reader(line + b"\n", size)
    assert "".join(LongRecord(b"", read).text("text")) == record["text"]
    assert read() == b""


@pytest.mark.parametrize("size", [1, 5, 10_000])
@pytest.mark.parametrize("end", [r"\ud83d", r"\ud83d\n", r"\ud83d\ude00", r"\ude00"])
def test_half_a_surrogate_pair_is_read_as_json_reads_it(size, end):
    line = b'{"text": "x' + end.encode() + b'"}'
    found = "".join(LongRecord(b"", reader(line + b"\n", size)).text("text"))
    assert found == json.loads(line)["text"]


@pytest.mark.parametrize("size", [1, 5, 10_000])
def test_a_record_without_the_field_says_so(size):
    line = b'{"a": {"text": "no"}, "b": "text"}\n'
    with pytest.raises(KeyError):
        list(LongRecord(b"", reader(line, size)).text("text"))


@pytest.mark.parametrize(
    "line",
    [
        b"[]\n",
        b'{"text": "no end',
        b'{"text": "\xff' + b"x" * 100 + b'"}',
        b'{"text": "\\ud8',
        b"{",
        b'{"text": "a"]\n',
        b'{"text": "a"} more\n',
        b'{"text": "a", "text": "b"}\n',
    ],
)
def test_what_is_no_object_is_refused(line):
    with pytest.raises(ValueError, match=r"object|decoded|closes|twice"):
        list(LongRecord(b"", reader(line, 5)).text("text"))
