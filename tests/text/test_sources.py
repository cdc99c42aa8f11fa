"""Documents come out whole and in one order, and what cannot be had is named."""

import hashlib
import json
import math
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from minigpt.errors import UserError
from minigpt.text.readers import BytesRead
from minigpt.text.sources import open_source


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def documents(config):
    return list(open_source(config, sha256).documents(BytesRead()))


def test_the_sample_is_ten_documents_and_others_held_out(data):
    found = documents(data("sample"))
    assert Counter(d.split for d in found) == {"train": 10, "val": 3, "test": 3}
    assert len({d.text for d in found}) == 16
    assert all(d.text.isascii() and len(d.text) > 2000 for d in found)


def test_the_standard_library_is_code_and_documentation_without_its_tests(data):
    found = {d.name: d for d in documents(data("stdlib"))}
    assert "def namedtuple" in found["collections/__init__.py"].text
    assert found["collections/__init__.py"].domain == "code"
    assert 'The "assert" statement' in found["pydoc topic assert"].text.replace("“", '"')
    assert found["pydoc topic assert"].domain == "documentation"
    folders = {part for name in found for part in Path(name).parts[:-1]}
    assert folders.isdisjoint({"test", "tests", "site-packages"})
    assert "unittest" in folders
    assert sum(len(d.text) for d in found.values()) > 5_000_000


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


def test_what_is_no_file_is_named(data, tmp_path):
    (tmp_path / "folder").mkdir()
    for pattern, message in {
        "missing.txt": "data.files: no such file: missing.txt",
        f"{tmp_path}/*.md": r"data.files: no file matches '.*\*.md'",
        f"{tmp_path}/folder": r"folder is a folder; name its files: .*folder/\*.txt",
        f"{tmp_path}/fold*": "matches folders only",
    }.items():
        with pytest.raises(UserError, match=message):
            documents(data(files=[pattern]))


# Hugging Face datasets, from folders laid out as the hub's are.


@pytest.fixture
def hub_folder(tmp_path):
    """Three shards of Parquet to train on, one of JSON lines to validate on."""
    folder = tmp_path / "dataset"
    (folder / "data").mkdir(parents=True)
    for shard in range(3):
        table = pa.table({"text": [f"shard {shard} row {row}" for row in range(5)]})
        pq.write_table(table, folder / "data" / f"train-{shard:05}-of-00003.parquet")
    table = pa.table({"text": [f"held out {row}" for row in range(4)]})
    pq.write_table(table, folder / "data" / "validation-00000-of-00001.parquet")
    return folder


def test_a_dataset_is_streamed_with_its_own_held_out_split(data, hub_folder):
    config = data("hub", hub_name=str(hub_folder), hub_val="validation")
    found = documents(config)
    assert [d.text for d in found[:4]] == [f"held out {row}" for row in range(4)]
    assert {d.split for d in found[:4]} == {"val"}
    rest = [d.text for d in found[4:]]
    assert sorted(rest) == [f"shard {s} row {r}" for s in range(3) for r in range(5)]
    assert {(d.split, d.not_in) for d in found[4:]} == {(None, ("val",))}
    assert documents(config) == found


def test_the_seed_orders_a_datasets_files(data, hub_folder):
    orders = {
        tuple(d.text for d in documents(data("hub", hub_name=str(hub_folder), mix_seed=seed)))
        for seed in range(6)
    }
    assert 1 < len(orders) <= 6
    for order in orders:
        assert [text.split()[-1] for text in order] == list("01234") * 3


def test_a_dataset_of_json_lines_and_joined_rows(data, tmp_path):
    folder = tmp_path / "lines"
    folder.mkdir()
    rows = [" = One = ", "body", " = Two = ", "end"]
    (folder / "train.jsonl").write_text("".join(json.dumps({"line": r}) + "\n" for r in rows))
    config = data("hub", hub_name=str(folder), text_field="line", document_start="^ = [^=]")
    assert [d.text for d in documents(config)] == [" = One = \nbody\n", " = Two = \nend\n"]
    with pytest.raises(UserError, match="train row 1: no field 'text', it has line; set data.text"):
        documents(data("hub", hub_name=str(folder)))


def test_another_split_field_or_file_is_another_text(data, hub_folder):
    def identity(**changes):
        return open_source(data("hub", hub_name=str(hub_folder), **changes), sha256).identity

    before = identity()
    assert identity() == before
    for change in ({"hub_val": "validation"}, {"mix_seed": 9}, {"hub_revision": "abc"}):
        assert identity(**change) != before
    (hub_folder / "data" / "train-00000-of-00003.parquet").unlink()
    assert identity() != before


def test_the_names_of_a_datasets_files_are_part_of_its_text(data, tmp_path):
    folder = tmp_path / "swapped"
    folder.mkdir()
    (folder / "train.jsonl").write_text('{"text": "a"}\n')
    (folder / "validation.jsonl").write_text('{"text": "b"}\n')
    config = data("hub", hub_name=str(folder), hub_val="validation")
    before = open_source(config, sha256).identity
    (folder / "train.jsonl").rename(folder / "a_validation.jsonl")
    (folder / "validation.jsonl").rename(folder / "b_train.jsonl")
    assert open_source(config, sha256).identity != before


def test_a_split_that_is_not_there_is_named(data, hub_folder):
    with pytest.raises(UserError, match="data.source=hub: split none of .*dataset could not be"):
        documents(data("hub", hub_name=str(hub_folder), hub_train="none"))


# Mixtures.


@pytest.fixture
def two_files(tmp_path):
    for name, size in {"long": 90, "short": 10}.items():
        lines = [json.dumps({"text": f"{name} {i} ".ljust(size, ".")}) for i in range(300)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    return tmp_path


def mix(data, folder, long, short, seed=1):
    return data(
        "mix",
        sources={
            "long": {"source": "files", "files": [f"{folder}/long.jsonl"], "weight": long},
            "short": {"source": "files", "files": [f"{folder}/short.jsonl"], "weight": short},
        },
        mix_seed=seed,
    )


@pytest.mark.parametrize(("long", "short"), [(1, 1), (3, 1), (9, 1), (1, 0.5)])
def test_each_source_has_its_weights_share_of_the_text_at_every_point(data, two_files, long, short):
    chars = Counter()
    for document in documents(mix(data, two_files, long, short)):
        chars[document.domain] += len(document.text)
        assert abs(chars["long"] / long - chars["short"] / short) <= max(90 / long, 10 / short) + 1
    assert max(chars["long"] // 90, chars["short"] // 10) == 300  # to the end of one of them


def test_what_sources_hold_out_comes_before_the_mixture_and_counts_for_no_share(data, two_files):
    config = mix(data, two_files, 1, 1)
    held = [f"{two_files}/short.jsonl"]
    sources = {**config.sources, "long": {**config.sources["long"], "val_files": held}}
    found = documents(data("mix", sources=sources))
    assert {(d.domain, d.split) for d in found[:300]} == {("long", "val")}
    chars = Counter()
    for document in found[300:]:
        chars[document.domain] += len(document.text)
    assert chars["long"] == pytest.approx(chars["short"], abs=100)


def test_a_mixture_is_the_same_each_time(data, two_files):
    assert documents(mix(data, two_files, 1, 2)) == documents(mix(data, two_files, 1, 2))
    first = {documents(mix(data, two_files, 1, 1, seed))[0].domain for seed in range(8)}
    assert first == {"long", "short"}


def test_a_weight_without_end_is_refused(data, two_files):
    with pytest.raises(UserError, match="data.sources.short.weight must be a finite number"):
        mix(data, two_files, 1, math.inf)


@pytest.mark.parametrize("weight", [0, -1, 0.0])
def test_weights_of_nothing_or_less_are_refused(data, two_files, weight):
    message = f"data.sources.short.weight must be above 0, got {weight}"
    with pytest.raises(UserError, match=message):
        mix(data, two_files, 1, weight)


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ({}, "data.sources is empty"),
        ({"a": 3}, "data.sources.a must be .*, got 3"),
        ({"a": {"source": "mix"}}, "data.sources.a.source=mix: a mixture is made of texts"),
        ({"a": {"source": "web"}}, "data.sources.a.source=web is not one of sample"),
        ({"a": {"source": "hub"}}, "data.sources.a.hub_name is not set"),
        ({"a": {"source": "files"}}, "data.sources.a.files is empty"),
        ({"a": {"wieght": 1}}, "unknown key data.sources.a.wieght; did you mean .*weight"),
        ({"a": {"weight": "1", "source": "sample"}}, "data.sources.a.weight must be float"),
    ],
)
def test_a_wrong_source_is_refused_by_its_key(data, sources, message):
    with pytest.raises(UserError, match=message):
        data("mix", sources=sources)
