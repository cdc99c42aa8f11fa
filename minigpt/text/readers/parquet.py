"""Parquet: one document a row, in the column that data.text_field names."""

from pathlib import Path

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

    try:
        file = pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)
        if field not in file.schema_arrow.names:
            there = ", ".join(file.schema_arrow.names)
            raise UserError(f"{path}: no column {field!r}, it has {there}; set data.text_field")
        number = 0
        for batch in file.iter_batches(batch_size=ROWS, columns=[field]):
            for text in batch.column(0).to_pylist():
                number += 1
                name = f"{path} row {number}"
                yield name, text_of({field: text}, field, name)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the system's own
            raise UserError(f"{path}: cannot be read ({error.strerror})") from None
        raise UserError(
            f"{path}: damaged or not Parquet ({str(error).splitlines()[0]}); get it again"
        ) from None
    read.count += path.stat().st_size
