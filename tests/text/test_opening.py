"""Files are unpacked, counted and recoded, and damaged ones are named."""

import gzip
import json
import sys

import pytest

from minigpt.errors import UserError
from minigpt.text.opening import BytesRead, import_optional
from minigpt.text.readers.read import read_texts
from tests.documents import COMPRESS, texts


def test_several_compressed_frames_are_one_text(tmp_path):
    for ending in (".gz", ".bz2", ".xz", ".zst"):
        path = tmp_path / f"a.txt{ending}"
        path.write_bytes(COMPRESS[ending](b"one ") + COMPRESS[ending](b"two"))
        assert texts(path) == ["one two"]


def test_what_is_read_is_counted_as_it_lies_on_disk(tmp_path):
    for name in ("a.txt", "a.jsonl.gz"):
        (tmp_path / name).write_bytes(
            b"x" * 1000 if name == "a.txt" else gzip.compress(b'{"text": "x"}\n' * 1000)
        )
        read = BytesRead()
        list(read_texts(tmp_path / name, "text", read))
        assert read.count == (tmp_path / name).stat().st_size


def test_endings_are_read_in_any_case(tmp_path):
    (tmp_path / "A.JSONL.GZ").write_bytes(gzip.compress(b'{"text": "loud"}\n'))
    assert texts(tmp_path / "A.JSONL.GZ") == ["loud"]


@pytest.mark.parametrize("without", [[], ["isal"]])
def test_a_gzip_file_of_two_members_is_read_with_isal_and_without(tmp_path, monkeypatch, without):
    for module in without:
        monkeypatch.setitem(sys.modules, module, None)
    path = tmp_path / "a.jsonl.gz"
    packed = gzip.compress(b'{"text": "one"}\n') + gzip.compress(b'{"text": "two"}\n')
    path.write_bytes(packed + b"\0" * 100)
    assert texts(path) == ["one", "two"]
    for damaged in (packed[:-3], packed[:30] + b"?" + packed[31:], packed + b"more"):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="a.jsonl.gz: damaged or cut short"):
            texts(path)


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz", ".zst"])
def test_a_damaged_or_cut_file_is_named(tmp_path, ending):
    path = tmp_path / f"a.jsonl{ending}"
    whole = COMPRESS[ending](b"".join(b'{"text": "%d"}\n' % i for i in range(5000)))
    for content in (whole[: len(whole) // 2], b"not compressed at all", whole[:40] + b"?" * 99):
        path.write_bytes(content)
        with pytest.raises(UserError, match=f"a.jsonl{ending}: damaged or cut short"):
            texts(path)


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    message = r"data.source=hub needs the package datasets: pip install 'minigpt\[data\]'"
    with pytest.raises(UserError, match=message):
        import_optional("datasets", "data.source=hub")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-32-be"])
def test_utf16_and_utf32_with_a_mark_are_read_in_every_format(tmp_path, encoding):
    text = "é 漢字 \U0001f600\n" * 3000  # longer than what is recoded at a time
    mark = "\ufeff" if encoding.endswith("be") else ""  # else the codec writes it
    row = text.replace("\n", " ")
    for name, content in {
        "a.txt": text,
        "a.jsonl": json.dumps({"text": text}, ensure_ascii=False) + "\n",
        "a.json": json.dumps([{"text": text}], ensure_ascii=False),
        "a.csv": f"id,text\n1,{row}\n",
    }.items():
        (tmp_path / name).write_bytes((mark + content).encode(encoding))
        assert texts(tmp_path / name) == [row if name == "a.csv" else text]


def test_damaged_utf16_is_named(tmp_path):
    (tmp_path / "a.txt").write_bytes("cut".encode("utf-16")[:-1])
    with pytest.raises(UserError, match="a.txt: not valid UTF-16 .*convert the file to UTF-8"):
        texts(tmp_path / "a.txt")
