"""Documents come out whole, and what cannot be read is named."""

from collections import Counter
from pathlib import Path

import pytest

from minigpt.errors import UserError
from minigpt.tokens.sources import SECTION_CHARS, files, sample, stdlib


def test_the_sample_is_ten_documents_and_others_held_out():
    documents = list(sample())
    assert Counter(d.split for d in documents) == {"train": 10, "val": 3, "test": 3}
    assert len({d.text for d in documents}) == 16
    assert all(d.text.isascii() and len(d.text) > 2000 for d in documents)


def test_the_standard_library_is_code_and_documentation_without_its_tests():
    documents = {d.name: d.text for d in stdlib()}
    assert "def namedtuple" in documents["collections/__init__.py"]
    assert 'The "assert" statement' in documents["pydoc topic assert"].replace("“", '"')
    folders = {part for name in documents for part in Path(name).parts[:-1]}
    assert folders.isdisjoint({"test", "tests", "site-packages"})
    assert "unittest" in folders
    assert sum(map(len, documents.values())) > 5_000_000


def test_files_and_globs_are_read_once_each_in_order(corpus):
    found = list(files([f"{corpus}/0[12].txt", f"{corpus}/02.txt", f"{corpus}/00.txt"]))
    assert [d.name.rpartition("/")[2] for d in found] == ["01.txt", "02.txt", "00.txt"]
    assert found[0].text == (corpus / "01.txt").read_text()


def test_named_held_out_files_go_to_their_split_and_no_other(corpus):
    found = list(files([f"{corpus}/*.txt"], [f"{corpus}/00.txt"], [f"{corpus}/01.txt"]))
    splits = {d.name.rpartition("/")[2]: d.split for d in found}
    assert len(found) == 40
    assert (splits["00.txt"], splits["01.txt"], splits["02.txt"]) == ("val", "test", None)


def test_one_long_file_is_cut_at_blank_lines_and_loses_nothing(tmp_path):
    text = "".join(f"Line {i} of many.\n" + "\n" * (i % 50 == 0) for i in range(3000))
    (tmp_path / "long.txt").write_text(text)
    sections = [d.text for d in files([str(tmp_path / "long.txt")])]
    assert "".join(sections) == text
    assert len(sections) > 4
    assert all(SECTION_CHARS <= len(s) <= 2 * SECTION_CHARS + 2 for s in sections[:-1])
    assert all(s.endswith("\n\n") for s in sections[:-1])


def test_text_without_line_ends_is_cut_all_the_same(tmp_path):
    (tmp_path / "line.txt").write_text("x" * (3 * SECTION_CHARS))
    assert [len(d.text) for d in files([str(tmp_path / "line.txt")])] == [SECTION_CHARS] * 3


def test_a_byte_order_mark_is_no_text(tmp_path):
    (tmp_path / "bom.txt").write_bytes(b"\xef\xbb\xbfhello")
    assert next(files([str(tmp_path / "bom.txt")])).text == "hello"


@pytest.mark.parametrize(
    ("content", "offset"), [(b"ok \xff no", 3), (b"\xef\xbb\xbfok \xff no", 6), (b"\xc3", 0)]
)
def test_invalid_utf8_is_named_by_file_and_byte(tmp_path, content, offset):
    (tmp_path / "bad.txt").write_bytes(content)
    with pytest.raises(UserError, match=f"bad.txt: byte {offset} is not UTF-8"):
        list(files([str(tmp_path / "bad.txt")]))


def test_what_is_no_file_is_named(tmp_path):
    (tmp_path / "folder").mkdir()
    for patterns, message in {
        (): "data.files is empty; name text files",
        ("missing.txt",): "data.files: no such file: missing.txt",
        (f"{tmp_path}/*.md",): r"data.files: no file matches '.*\*.md'",
        (f"{tmp_path}/folder",): r"folder is a folder; name its files: .*folder/\*.txt",
        (f"{tmp_path}/fold*",): "matches folders only",
    }.items():
        with pytest.raises(UserError, match=message):
            list(files(patterns))
