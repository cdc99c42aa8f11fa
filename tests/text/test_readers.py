"""Every kind of file comes out as its texts, and what cannot be read is named."""

import gzip
import json
import lzma

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from minigpt.errors import UserError
from minigpt.text import readers
from minigpt.text.readers import SECTION_CHARS, BytesRead, joined, read_texts, sections

TEXTS = ["one", "zwei\nZeilen", "drei é 漢字", ""]
COMPRESS = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress,
            ".zst": lambda content: pa.compress(content, "zstd", asbytes=True)}  # fmt: skip


def texts(path, field="text"):
    found = read_texts(path, field, BytesRead())
    return [text if isinstance(text, str) else "".join(text) for _, text in found]


@pytest.mark.parametrize("ending", COMPRESS)
@pytest.mark.parametrize("kind", [".jsonl", ".ndjson", ".json"])
def test_json_lines_come_out_plain_or_compressed(tmp_path, kind, ending):
    lines = "".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate(TEXTS))
    path = tmp_path / f"c4.00001{kind}{ending}"
    path.write_bytes(COMPRESS[ending]((lines + "\n").encode()))
    assert texts(path) == TEXTS


@pytest.mark.parametrize("ending", COMPRESS)
def test_text_comes_out_plain_or_compressed(tmp_path, ending):
    path = tmp_path / f"a.txt{ending}"
    path.write_bytes(COMPRESS[ending]("é\nline\n".encode()))
    assert texts(path) == ["é\nline\n"]


def test_several_compressed_frames_are_one_text(tmp_path):
    for ending in (".gz", ".xz", ".zst"):
        path = tmp_path / f"a.txt{ending}"
        path.write_bytes(COMPRESS[ending](b"one ") + COMPRESS[ending](b"two"))
        assert texts(path) == ["one two"]


def test_parquet_comes_out_row_by_row(tmp_path):
    table = pa.table({"content": TEXTS * 100, "id": range(400)})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=30)
    assert texts(tmp_path / "a.parquet", "content") == TEXTS * 100
    message = "a.parquet: no column 'text', it has content, id; set data.text_field"
    with pytest.raises(UserError, match=message):
        texts(tmp_path / "a.parquet")
    pq.write_table(pa.table({"text": ["a", None]}), tmp_path / "null.parquet")
    assert texts(tmp_path / "null.parquet") == ["a", ""]


def test_what_is_read_is_counted_as_it_lies_on_disk(tmp_path):
    for name in ("a.txt", "a.jsonl.gz"):
        (tmp_path / name).write_bytes(
            b"x" * 1000 if name == "a.txt" else gzip.compress(b'{"text": "x"}\n' * 1000)
        )
        read = BytesRead()
        list(read_texts(tmp_path / name, "text", read))
        assert read.count == (tmp_path / name).stat().st_size


def test_a_long_line_and_a_long_text_come_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "LONG_LINE", 1000)
    monkeypatch.setattr(readers, "PIECE_CHARS", 300)
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
    with pytest.raises(UserError, match="a.jsonl:2: no JSON object on this line"):
        texts(path)


def test_endings_are_read_in_any_case(tmp_path):
    (tmp_path / "A.JSONL.GZ").write_bytes(gzip.compress(b'{"text": "loud"}\n'))
    assert texts(tmp_path / "A.JSONL.GZ") == ["loud"]


def test_rows_are_joined_into_documents():
    rows = ["preface", " = One = ", "body", " = = part = = ", "", " = Two = ", "end\n"]
    found = list(joined(((f"row {i}", row) for i, row in enumerate(rows)), "^ = [^=]"))
    assert found == [
        ("row 0", "preface\n"),
        ("row 1", " = One = \nbody\n = = part = = \n\n"),
        ("row 5", " = Two = \nend\n"),
    ]


def test_one_long_text_is_cut_at_blank_lines_and_loses_nothing():
    text = "".join(f"Line {i} of many.\n" + "\n" * (i % 50 == 0) for i in range(3000))
    parts = list(sections([text]))
    assert "".join(parts) == text
    assert len(parts) > 4
    assert all(SECTION_CHARS <= len(part) <= 2 * SECTION_CHARS + 2 for part in parts[:-1])
    assert all(part.endswith("\n\n") for part in parts[:-1])
    assert list(sections(text[i : i + 777] for i in range(0, len(text), 777))) == parts


def test_text_without_line_ends_is_cut_all_the_same():
    assert [len(part) for part in sections(["x" * (3 * SECTION_CHARS)])] == [SECTION_CHARS] * 3


def test_a_byte_order_mark_is_no_text_and_line_ends_are_one(tmp_path):
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
    monkeypatch.setattr(readers, "PIECE_CHARS", 100)
    (tmp_path / "bad.txt").write_bytes("é".encode() * 501 + b"\xff" + b"x" * 500)
    with pytest.raises(UserError, match="bad.txt: byte 1002 is not UTF-8"):
        texts(tmp_path / "bad.txt")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"text": "a"', "a.jsonl:2: no JSON object on this line; mend .*character 14"),
        (b"[1]", "a.jsonl:2: no JSON object on this line; mend .*list"),
        (
            b'{"text": "\xff"}',
            "a.jsonl:2: no JSON object on this line; mend .*byte 10 is not UTF-8",
        ),
        (b'{"body": "a", "id": 1}', "a.jsonl:2: no field 'text', it has body, id; set data.text_f"),
        (b'{"text": ["a"]}', "a.jsonl:2: its field 'text' is list, not text"),
    ],
)
def test_a_bad_line_is_named_by_file_and_number(tmp_path, line, message):
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "fine"}\n' + line + b"\n")
    with pytest.raises(UserError, match=message):
        texts(tmp_path / "a.jsonl")


@pytest.mark.parametrize("ending", [".gz", ".xz", ".zst"])
def test_a_damaged_or_cut_file_is_named(tmp_path, ending):
    path = tmp_path / f"a.jsonl{ending}"
    whole = COMPRESS[ending](b"".join(b'{"text": "%d"}\n' % i for i in range(5000)))
    for content in (whole[: len(whole) // 2], b"not compressed at all", whole[:40] + b"?" * 99):
        path.write_bytes(content)
        with pytest.raises(UserError, match=f"a.jsonl{ending}: damaged or cut short"):
            texts(path)
    (tmp_path / "a.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(UserError, match="a.parquet: damaged or no Parquet"):
        texts(tmp_path / "a.parquet")


def test_a_missing_package_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "a.txt.zst").write_bytes(b"")
    message = r"a.txt.zst needs the package pyarrow: pip install 'minigpt\[data\]'"
    with pytest.raises(UserError, match=message):
        texts(tmp_path / "a.txt.zst")
