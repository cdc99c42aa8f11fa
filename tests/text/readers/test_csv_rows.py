"""CSV and TSV come out as the texts of one column."""

import csv
import io

import pytest

from minigpt.errors import UserError
from minigpt.text.readers import csv_rows
from tests.documents import COMPRESS, texts

TEXTS = ["one", "zwei\nZeilen", 'drei "é", 漢字', "", "tab\there; and more"]


def rows(delimiter, line_end="\r\n"):
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator=line_end)
    writer.writerow(["id", "text", "more"])
    writer.writerows([i, text, "x"] for i, text in enumerate(TEXTS))
    return out.getvalue().encode()


@pytest.mark.parametrize("ending", COMPRESS)
@pytest.mark.parametrize(("format", "delimiter"), [(".csv", ","), (".tsv", "\t")])
def test_a_column_comes_out_row_by_row(tmp_path, format, delimiter, ending):
    path = tmp_path / f"a{format}{ending}"
    path.write_bytes(COMPRESS[ending](rows(delimiter)))
    assert texts(path) == TEXTS
    assert texts(path, "more") == ["x"] * 5


def test_line_ends_marks_and_blank_lines_do_not_matter(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbf" + rows(",", "\n") + b"\n")
    assert texts(tmp_path / "a.csv") == TEXTS
    (tmp_path / "a.csv").write_bytes(b'text\r\n"a\r\nb"\r\n')
    assert texts(tmp_path / "a.csv") == ["a\nb"]


def test_a_cell_longer_than_pythons_limit_is_read(tmp_path):
    (tmp_path / "a.csv").write_text("text\n" + "x" * 200_000 + "\n")
    assert texts(tmp_path / "a.csv") == ["x" * 200_000]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id,body\n1,a\n", "a.csv: no column 'text', it has id, body; set data.text_field"),
        (b"", "a.csv: no column 'text', it has nothing"),
        (b"id;text\n1;a\n", "a.csv: no column 'text', it has id;text; separate the cells"),
        (b"id,text\n1,a\n2,b, c\n", "a.csv:3: 3 cells, but 2 columns; put cells that hold a comma"),
        (b"id,text\n1\n", "a.csv:2: 1 cells, but 2 columns"),
        (b'id,text\n1,"never closed\n2,b\n', "a.csv:3: not a row of CSV .unexpected end of data"),
        (b'id,text\n1,"a"b\n', "a.csv:2: not a row of CSV"),
        (b"id,text\n1,\xff\n", "a.csv: not UTF-8 near line"),
        (b"id,text\n1,a\0\n", "a.csv:2: a NUL byte"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path, content, message):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(UserError, match=message):
        texts(tmp_path / "a.csv")


def test_a_line_too_long_to_hold_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_rows, "LONGEST_CELL", 100)
    (tmp_path / "a.csv").write_text("text\n" + "x" * 101 + "\n")
    with pytest.raises(UserError, match="a.csv:2: a line of more than 100 characters; convert"):
        texts(tmp_path / "a.csv")
