"""JSON lines come out as their texts, and a bad line is named by its number."""

import json

import pytest

from minigpt.errors import UserError
from minigpt.text.opening import BytesRead
from minigpt.text.readers.read import read_texts
from tests.documents import COMPRESS, texts

TEXTS = ["one", "zwei\nZeilen", "drei é 漢字", ""]


@pytest.mark.parametrize("ending", COMPRESS)
@pytest.mark.parametrize("kind", [".jsonl", ".ndjson", ".json", ".jsonlines", ".jl"])
def test_json_lines_come_out_plain_or_compressed(tmp_path, kind, ending):
    lines = "".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate(TEXTS))
    path = tmp_path / f"c4.00001{kind}{ending}"
    path.write_bytes(COMPRESS[ending]((lines + "\n").encode()))
    assert texts(path) == TEXTS


@pytest.mark.parametrize(
    "line",
    [
        rb'{"text": "a\u0000 \ud83d\ude00 \ud83d", "id": NaN}',
        rb'{"text": "", "id": 12345678901234567890123, "text": "a\u0000 \ud83d\ude00 \ud83d"}',
        b"\xef\xbb\xbf" + rb'{"text": "a\u0000 \ud83d\ude00 \udc00"}',
    ],
)
def test_what_only_pythons_parser_takes_is_read_as_well(tmp_path, line):
    (tmp_path / "a.jsonl").write_bytes(line + b"\n")
    assert texts(tmp_path / "a.jsonl") == ["a\0 😀 \ufffd"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"text": "a"', "a.jsonl:2: not a JSON object; .*character 14"),
        (b"[1]", "a.jsonl:2: not a JSON object; .*list"),
        (
            b'{"text": "\xff"}',
            "a.jsonl:2: not a JSON object; .*byte 10 is not UTF-8",
        ),
        (b'{"body": "a", "id": 1}', "a.jsonl:2: no field 'text', it has body, id; set data.text_f"),
        (b'{"text": ["a"]}', "a.jsonl:2: its field 'text' is list, not text"),
    ],
)
def test_a_bad_line_is_named_by_file_and_number(tmp_path, line, message):
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "fine"}\n' + line + b"\n")
    with pytest.raises(UserError, match=message):
        texts(tmp_path / "a.jsonl")


def test_a_long_line_and_a_long_text_come_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr("minigpt.text.readers.json_lines.LONG_LINE", 1000)
    monkeypatch.setattr("minigpt.text.readers.json_lines.PIECE_CHARS", 300)
    monkeypatch.setattr("minigpt.text.readers.plain.PIECE_CHARS", 300)
    monkeypatch.setattr("minigpt.text.long_text.PIECE_CHARS", 300)
    long = 'the tide comes in, é 漢字 \\ " \n' * 200
    path = tmp_path / "a.jsonl"
    lines = [{"text": "first"}, {"id": [1, 2], "text": long, "more": "x"}, {"text": "last"}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    found = []
    for name, text in read_texts(path, "text", BytesRead()):
        pieces = [text] if isinstance(text, str) else list(text)
        assert all(len(piece) <= 300 for piece in pieces)
        found.append((name.rpartition(":")[2], "".join(pieces)))
    assert found == [("1", "first"), ("2", long), ("3", "last")]

    (tmp_path / "a.txt").write_text(long, "utf-8")
    for _, pieces in read_texts(tmp_path / "a.txt", "text", BytesRead()):
        assert not isinstance(pieces, str)
        assert "".join(pieces) == long

    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"text": long}).encode())
    assert texts(path) == [long]
    path.write_text('{"text": "a"}\n{"id": "' + "x" * 2000 + '"}\n')
    with pytest.raises(UserError, match="a.jsonl:2: no text in a field 'text'"):
        texts(path)
    path.write_text('{"text": "a"}\n{"text": "' + "x" * 2000 + "\n")
    with pytest.raises(UserError, match="a.jsonl:2: not a JSON object"):
        texts(path)
