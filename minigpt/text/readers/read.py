"""One file -> its texts, by the format that its ending names."""

from pathlib import Path

from minigpt.text.formats import file_format
from minigpt.text.opening import BytesRead, open_text
from minigpt.text.readers.csv_rows import read_csv
from minigpt.text.readers.json_array import is_array, read_json_array
from minigpt.text.readers.json_lines import read_json_lines
from minigpt.text.readers.parquet import read_parquet
from minigpt.text.readers.plain import read_plain
from minigpt.text.readers.records import Texts


def read_texts(path: Path, field: str, read: BytesRead) -> Texts:
    """(name, text) of every document in a file, as an iterator over pieces if it is long.

    `field` names the text of a record. Raises UserError, naming the file and the line, row or
    byte, if the file is not what its ending says.
    """
    format = file_format(path)
    if format == "parquet":
        yield from read_parquet(path, field, read)
        return
    with open_text(path, read) as file:
        if format == "json" and is_array(file):
            yield from read_json_array(file, path, field)
        elif format == "json":
            yield from read_json_lines(file, path, field)
        elif format in ("csv", "tsv"):
            yield from read_csv(file, path, field, "," if format == "csv" else "\t")
        else:
            yield from read_plain(file, path, field)
