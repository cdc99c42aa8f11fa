"""A field of a long JSON object is read as json.loads reads it."""

import json

import pytest

from minigpt.text.readers.long_record import LongRecord

TRICKY = 'a "quoted" \\ back\\\\slash \n line \u00e9 \u6f22 \U0001f600 / \t end\\'


def reader(content, size):
    parts = [content[i : i + size] for i in range(0, len(content), size)]
    return lambda: parts.pop(0) if parts else b""


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
    long = LongRecord(b"", reader(line + b"\n", size))
    assert "".join(long.text("text")) == record["text"]
    long.check_end()
    assert long.rest().strip() == b""


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
def test_anything_but_one_object_is_refused(line):
    def read():
        record = LongRecord(b"", reader(line, 5))
        list(record.text("text"))
        record.check_end()

    with pytest.raises(ValueError, match=r"object|begin|decoded|closes|twice"):
        read()
