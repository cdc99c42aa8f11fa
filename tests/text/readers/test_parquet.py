"""Parquet comes out row by row, and a damaged file is named."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from minigpt.errors import UserError
from tests.documents import texts

TEXTS = ["one", "zwei\nZeilen", "drei é 漢字", ""]


def test_parquet_comes_out_row_by_row(tmp_path):
    table = pa.table({"content": TEXTS * 100, "id": range(400)})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=30)
    assert texts(tmp_path / "a.parquet", "content") == TEXTS * 100
    message = "a.parquet: no column 'text', it has content, id; set data.text_field"
    with pytest.raises(UserError, match=message):
        texts(tmp_path / "a.parquet")
    pq.write_table(pa.table({"text": ["a", None]}), tmp_path / "null.parquet")
    assert texts(tmp_path / "null.parquet") == ["a", ""]


def test_a_damaged_file_is_named(tmp_path):
    table = pa.table({"text": ["a longer text " * 50 + str(i) for i in range(200)]})
    pq.write_table(table, tmp_path / "whole.parquet")
    whole = (tmp_path / "whole.parquet").read_bytes()
    for content in (b"PAR1 nothing", whole[:500], whole[:100] + b"?" * 200 + whole[300:]):
        (tmp_path / "a.parquet").write_bytes(content)
        with pytest.raises(UserError, match="a.parquet: damaged or not Parquet"):
            texts(tmp_path / "a.parquet")


def test_a_column_whose_name_is_not_utf8_is_a_damaged_file(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["one"], "abcd": ["two"]}), path, store_schema=False)
    path.write_bytes(path.read_bytes().replace(b"abcd", b"\x98bcd"))
    with pytest.raises(UserError, match=r"a.parquet: damaged or not Parquet \(the name of a col"):
        texts(path)
