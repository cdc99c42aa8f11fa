"""CSV and TSV: one document a row, in the column that data.text_field names."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from minigpt.errors import UserError
from minigpt.text.readers.records import Texts

# Characters of a line, and of a cell. A row has to be held as a whole, and a quote that is never
# closed takes in the rest of the file.
LONGEST_CELL = 64 << 20


def read_csv(file: BinaryIO, path: Path, field: str, delimiter: str) -> Texts:
    """The cells of a column; the first row names the columns. Quoting follows RFC 4180.

    Raises UserError, naming the line, for a missing column, a row with more or fewer cells than
    the first, a quote out of place, a cell that is too long, or bytes that are not UTF-8.
    """
    # The limit belongs to the module, not to a reader: raised, never lowered under another reader.
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_CELL))
    lines = io.TextIOWrapper(file, "utf-8-sig", newline="")
    rows = csv.reader(_checked(lines, path), delimiter=delimiter, strict=True)
    try:
        columns = next(rows, [])
        if field not in columns:
            there = ", ".join(columns) or "nothing"
            way_out = "set data.text_field"
            if len(columns) == 1 and (";" in there or "\t" in there):
                way_out = "separate the cells by commas (tabs: name the file .tsv)"
            raise UserError(f"{path}: no column {field!r}, it has {there}; {way_out}")
        column = columns.index(field)
        for row in rows:
            if not row:  # a blank line
                continue
            name = f"{path}:{rows.line_num}"
            if len(row) != len(columns):
                raise UserError(
                    f"{name}: {len(row)} cells, but {len(columns)} columns; put cells that hold a "
                    f"{'comma' if delimiter == ',' else 'tab'} in double quotes"
                )
            yield name, row[column].replace("\r\n", "\n").replace("\r", "\n")
    except csv.Error as error:
        raise UserError(
            f"{path}:{rows.line_num}: not a row of CSV ({error}); put cells in double quotes and "
            "double the quotes in them, or convert the file to JSON lines"
        ) from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: not UTF-8 near line {rows.line_num + 1} ({error.reason}); convert the file "
            "(iconv -t utf-8) or leave it out"
        ) from None
    finally:
        lines.detach()  # the caller closes the file


def _checked(lines: io.TextIOWrapper, path: Path) -> Iterator[str]:
    number = 0
    while line := lines.readline(LONGEST_CELL + 1):
        number += 1
        if len(line) > LONGEST_CELL:
            raise UserError(
                f"{path}:{number}: a line of more than {LONGEST_CELL:,} characters; convert the "
                "file to JSON lines, whose long texts are read in pieces"
            )
        if "\0" in line:
            raise UserError(
                f"{path}:{number}: a NUL byte, so this is not a text file; leave it out"
            )
        yield line
