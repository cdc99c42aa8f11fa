"""A file that is not text is refused with the way out, by its ending or by its first bytes."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from minigpt.errors import UserError
from minigpt.text.formats import bare_name, check_ending, file_format
from tests.documents import COMPRESS, documents, texts


def zipped():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.txt", "text")
    return out.getvalue()


def tarred():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.txt"), io.BytesIO())
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("a.txt", "text"),
        ("a", "text"),
        ("a.md.gz", "text"),
        ("A.JSONL.GZ", "json"),
        ("a.jl", "json"),
        ("a.jsonlines.bz2", "json"),
        ("a.csv.zst", "csv"),
        ("a.tsv", "tsv"),
        ("a.parquet", "parquet"),
    ],
)
def test_the_ending_names_the_format(name, format):
    assert file_format(Path(name)) == format


def test_a_bare_name_has_no_endings_and_no_shards_number():
    names = ["c4.00001.jsonl.gz", "c4-00001-of-00041.parquet", "c4.csv", "c4_3.jl.bz2"]
    assert {bare_name(Path(name)) for name in names} == {"c4"}


@pytest.mark.parametrize(
    ("name", "way_out"),
    [
        ("a.tar.gz", "is an archive; unpack it and name the files in it"),
        ("a.tar", "is an archive"),
        ("a.tgz", "is an archive"),
        ("a.tar.bz2", "is an archive"),
        ("A.ZIP", "is an archive"),
        ("a.7z", "is an archive"),
        ("a.rar", "is an archive"),
        ("a.docx", r"is not plain text; save it as text \(.txt\)"),
        ("a.pdf", "is not plain text"),
        ("a.epub", "is not plain text"),
        ("a.jsonl.lz4", "has a compression that is not read here; unpack it"),
        ("a.xlsx", "is a format that is not read here; convert it to JSON lines, CSV or Parquet"),
    ],
)
def test_a_container_is_refused_by_its_ending_before_anything_is_read(
    data, tmp_path, name, way_out
):
    (tmp_path / name).write_text("whatever")
    with pytest.raises(UserError, match=f"{name} {way_out}"):
        check_ending(tmp_path / name)
    with pytest.raises(UserError, match=f"{name} {way_out}"):
        documents(data(files=[f"{tmp_path}/{name}"]))
    with pytest.raises(UserError, match=f"{name} {way_out}"):
        documents(data(val_files=[f"{tmp_path}/{name}"], files=[__file__]))


@pytest.mark.parametrize(
    ("content", "way_out"),
    [
        (zipped(), "is an archive; unpack it and name the files in it"),
        (tarred(), "is an archive"),
        (b"7z\xbc\xaf\x27\x1c...", "is an archive"),
        (b"Rar!\x1a\x07...", "is an archive"),
        (b"%PDF-1.7\n...", "is not plain text"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1...", "is not plain text"),
        (b"PAR1...", "is Parquet under another name; rename it so that it ends with .parquet"),
        (COMPRESS[".gz"](b"text"), "is packed by gzip under another name; .* ends with .gz"),
        (COMPRESS[".bz2"](b"text"), "is packed by bzip2 under another name"),
        (COMPRESS[".xz"](b"text"), "is packed by xz under another name"),
        (COMPRESS[".zst"](b"text"), "is packed by zstd under another name"),
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.txt.gz"])
def test_a_container_is_refused_by_its_first_bytes(tmp_path, name, content, way_out):
    packed = COMPRESS[".gz"](content) if name.endswith(".gz") else content
    (tmp_path / name).write_bytes(packed)
    with pytest.raises(UserError, match=f"{name} {way_out}"):
        texts(tmp_path / name)
