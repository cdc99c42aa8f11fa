"""Parquet: one document a row, in the column that data.text_field names."""

from pathlib import Path
from typing import Any

from minigpt.errors import UserError
from minigpt.text.opening import BytesRead
from minigpt.text.readers.records import Texts, text_of

ROWS = 64  # held at a time


def read_parquet(path: Path, field: str, read: BytesRead) -> Texts:
    """The cells of a column, row group by row group.

    Raises UserError for a missing column, a cell that holds no text, or a damaged file.
    """
    # Imported only now: most corpora are not Parquet.
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        file = pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)
        if field not in file.schema_arrow.names:
            there = ", ".join(file.schema_arrow.names)
            raise UserError(f"{path}: no column {field!r}, it has {there}; set data.text_field")
        for batch in file.iter_batches(batch_size=ROWS, columns=[field]):
            for text in _cells(batch.column(0), path, number + 1):
                number += 1
                name = f"{path} row {number}"
                yield name, text_of({field: text}, field, name)
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: damaged or not Parquet (the name of a column: {error.reason}); get it again"
        ) from None
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the system's own
            raise UserError(f"{path}: cannot be read ({error.strerror})") from None
        what = f"damaged after row {number}" if number else "damaged or not Parquet"
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path}: {what} ({reason}); get it again") from None
    read.count += path.stat().st_size


def _cells(column: Any, path: Path, first: int) -> list[Any]:
    """The values of some rows, of which the file's `first` is the first.

    Raises UserError, naming the row, where a text is not UTF-8: the format says so, no reader
    looks.
    """
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        for number, cell in enumerate(column, first):
            try:
                cell.as_py()
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{path} row {number}: byte {error.start} of its text is not UTF-8 "
                    f"({error.reason}); mend the row or leave the file out"
                ) from None
        raise
