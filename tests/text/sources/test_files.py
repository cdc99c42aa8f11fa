"""The user's files: which are read, in which order, and what is refused."""

import pytest

from minigpt.errors import UserError
from tests.documents import documents


def test_files_and_globs_are_read_once_each_in_order(data, corpus):
    patterns = [f"{corpus}/0[12].txt", f"{corpus}/02.txt", f"{corpus}/00.txt"]
    found = documents(data(files=patterns))
    assert [d.name.rpartition("/")[2] for d in found] == ["01.txt", "02.txt", "00.txt"]
    assert found[0].text == (corpus / "01.txt").read_text()


def test_named_held_out_files_come_first_and_go_to_their_split_and_no_other(data, corpus):
    found = documents(
        data(
            files=[f"{corpus}/*.txt"],
            val_files=[f"{corpus}/07.txt"],
            test_files=[f"{corpus}/09.txt"],
        )
    )
    names = [d.name.rpartition("/")[2] for d in found]
    assert (len(found), names[:2]) == (40, ["07.txt", "09.txt"])
    assert [d.split for d in found[:3]] == ["val", "test", None]
    assert found[2].not_in == ("val", "test")


def test_a_file_named_twice_is_held_out_however_it_is_spelled(data, corpus, monkeypatch):
    monkeypatch.chdir(corpus)
    found = documents(data(files=[f"{corpus}/0*.txt"], val_files=["00.txt"]))
    assert [d.split for d in found] == ["val"] + [None] * 9


def test_a_name_with_brackets_is_a_name_before_it_is_a_glob(data, tmp_path):
    (tmp_path / "n[1].txt").write_text("x")
    (tmp_path / "m.txt").write_text("y")
    assert len(documents(data(files=[f"{tmp_path}/n[1].txt", f"{tmp_path}/[m].txt"]))) == 2


def test_a_text_file_all_alone_is_cut_into_sections(data, tmp_path):
    (tmp_path / "long.txt").write_text("A line.\n\n" * 3000)
    found = documents(data(files=[f"{tmp_path}/long.txt"]))
    assert len(found) == 4
    assert "".join(d.text for d in found) == "A line.\n\n" * 3000


def test_a_file_of_records_names_a_domain_less_its_shards_number(data, tmp_path):
    names = ["wiki-00001-of-00003.jsonl", "wiki-00002-of-00003.jsonl", "c4.0003.json", "peps.jsonl"]
    for name in names:
        (tmp_path / name).write_text('{"text": "a"}\n')
    found = documents(data(files=[f"{tmp_path}/{name}" for name in names]))
    assert [d.domain for d in found] == ["wiki", "wiki", "c4", "peps"]


def test_a_path_that_names_no_file_is_refused(data, tmp_path):
    (tmp_path / "folder").mkdir()
    for pattern, message in {
        "missing.txt": "data.files: no such file: missing.txt",
        f"{tmp_path}/*.md": r"data.files: no file matches '.*\*.md'",
        f"{tmp_path}/folder": r"folder is a folder; name its files: .*folder/\*.txt",
        f"{tmp_path}/fold*": "matches folders only",
    }.items():
        with pytest.raises(UserError, match=message):
            documents(data(files=[pattern]))


def test_a_tilde_is_the_home_folder(data, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "notes").mkdir()
    for name in ("a.txt", "b.txt"):
        (tmp_path / "notes" / name).write_text(name)
    config = data(files=["~/notes/*.txt"], val_files=["~/notes/b.txt"])
    assert [(d.text, d.split) for d in documents(config)] == [("b.txt", "val"), ("a.txt", None)]


def test_a_file_whose_name_begins_with_a_tilde_is_itself(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~a.txt").write_text("a")
    (tmp_path / "b.txt").write_text("b")
    assert [d.text for d in documents(data(files=["~a.txt", "b.txt"]))] == ["a", "b"]


def test_records_of_every_format_are_documents(data, tmp_path):
    (tmp_path / "a.jl").write_text('{"text": "jl"}\n')
    (tmp_path / "b.csv").write_text("text\ncsv\n")
    (tmp_path / "c.tsv").write_text("id\ttext\n1\ttsv\n")
    (tmp_path / "d.json").write_text('[{"text": "array"}]')
    found = documents(data(files=[f"{tmp_path}/{name}" for name in ("a.jl", "b.csv", "c.tsv",
                                                                     "d.json")]))  # fmt: skip
    assert [(d.domain, d.text) for d in found] == [
        ("a", "jl"), ("b", "csv"), ("c", "tsv"), ("d", "array"),
    ]  # fmt: skip
