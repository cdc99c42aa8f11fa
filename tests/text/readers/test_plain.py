"""A text file comes out as its text, and bytes that are not text are named."""

import json

import pytest

from minigpt.errors import UserError
from minigpt.text.readers import plain
from tests.documents import COMPRESS, texts


@pytest.mark.parametrize("ending", COMPRESS)
def test_text_comes_out_plain_or_compressed(tmp_path, ending):
    path = tmp_path / f"a.txt{ending}"
    path.write_bytes(COMPRESS[ending]("é\nline\n".encode()))
    assert texts(path) == ["é\nline\n"]


def test_a_byte_order_mark_is_left_out_and_every_line_end_is_a_newline(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfhello\r\nthere\r\n")
    assert texts(tmp_path / "a.txt") == ["hello\nthere\n"]
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "hello"}\r\n{"text": "there"}\r\n')
    assert texts(tmp_path / "a.jsonl") == ["hello", "there"]


@pytest.mark.parametrize(
    ("content", "offset"), [(b"ok \xff no", 3), (b"\xef\xbb\xbfok \xff no", 6), (b"\xc3", 0)]
)
def test_invalid_utf8_is_named_by_file_and_byte(tmp_path, content, offset):
    (tmp_path / "bad.txt").write_bytes(content)
    with pytest.raises(UserError, match=f"bad.txt: byte {offset} is not UTF-8"):
        texts(tmp_path / "bad.txt")


def test_invalid_utf8_far_into_a_file_is_named_by_its_byte(tmp_path, monkeypatch):
    monkeypatch.setattr(plain, "PIECE_CHARS", 100)
    (tmp_path / "bad.txt").write_bytes("é".encode() * 501 + b"\xff" + b"x" * 500)
    with pytest.raises(UserError, match="bad.txt: byte 1002 is not UTF-8"):
        texts(tmp_path / "bad.txt")


@pytest.mark.parametrize("content", [b"a\0b", "no mark".encode("utf-16-le"), bytes(1000)])
def test_nul_bytes_are_not_text(tmp_path, content):
    (tmp_path / "a.txt").write_bytes(content)
    byte = content.index(b"\0")
    with pytest.raises(UserError, match=f"a.txt: byte {byte} is NUL, so this is not a text file"):
        texts(tmp_path / "a.txt")


def test_a_nul_byte_far_into_a_file_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(plain, "PIECE_CHARS", 100)
    (tmp_path / "a.txt").write_bytes(b"word " * 100 + b"\0")
    with pytest.raises(UserError, match="a.txt: byte 500 is NUL"):
        texts(tmp_path / "a.txt")


def test_json_lines_under_another_name_are_not_trained_on_as_prose(tmp_path):
    line = json.dumps({"text": "a", "id": 1})
    (tmp_path / "shard").write_text(f"{line}\n{line}\n")
    message = "shard: its first line is a JSON object with the field 'text'; rename .* .jsonl"
    with pytest.raises(UserError, match=message):
        texts(tmp_path / "shard")
    for prose in ('{"text"} is a set', '{"id": 1}', "[1]"):
        (tmp_path / "prose.txt").write_text(prose)
        assert texts(tmp_path / "prose.txt") == [prose]
