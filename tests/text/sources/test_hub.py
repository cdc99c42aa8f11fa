"""Hugging Face datasets, from folders laid out as the hub's are."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from minigpt.errors import UserError
from tests.documents import documents, source


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
        return source(data("hub", hub_name=str(hub_folder), **changes)).identity

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
    before = source(config).identity
    (folder / "train.jsonl").rename(folder / "a_validation.jsonl")
    (folder / "validation.jsonl").rename(folder / "b_train.jsonl")
    assert source(config).identity != before


def test_a_split_that_is_not_there_is_named(data, hub_folder):
    with pytest.raises(UserError, match="data.source=hub: split none of .*dataset could not be"):
        documents(data("hub", hub_name=str(hub_folder), hub_train="none"))
