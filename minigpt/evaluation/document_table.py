"""documents.parquet, read again: what a run made of each document of a split.

Shapes: D documents.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from minigpt.errors import UserError, reason_of
from minigpt.ordinary_file import check_ordinary
from minigpt.runs.run_folder import RunFolder

# A network that knows no separator cannot score a document's first token, so that its documents
# lack the bytes of one token. GPT-2's longest token has so many.
LONGEST_TOKEN = 128

MOST_DOCUMENTS = 5_000_000  # a file of a few bytes can claim any number of rows


@dataclass(frozen=True)
class DocumentTable:
    """The documents of one split, by their names."""

    names: list[str]
    tokens: Int[ndarray, "D"]  # that were scored
    bytes: Int[ndarray, "D"]  # of UTF-8 that these tokens stand for
    nats: Float[ndarray, "D"]  # of these tokens, summed


def read_documents(folder: RunFolder, split: str) -> DocumentTable | None:
    """The documents of a split; None where the run was not evaluated on it.

    Raises UserError where the file is damaged.
    """
    if not folder.documents.is_file():
        return None
    # Imported only now: a report of runs without the file must not wait for it.
    import pyarrow as pa
    from pyarrow import parquet

    columns = {"name": pa.string(), "tokens": pa.int64(), "bytes": pa.int64(), "nats": pa.float64()}
    try:
        check_ordinary(folder.documents)
        with folder.documents.open("rb") as file:
            if (rows := parquet.read_metadata(file).num_rows) > MOST_DOCUMENTS:
                raise ValueError(f"{rows:,} documents are more than {MOST_DOCUMENTS:,}")
            table = parquet.read_table(file, columns=[*columns], filters=[("split", "==", split)])
        names, *numbers = (table[name].cast(kind) for name, kind in columns.items())
        if any(column.null_count for column in (names, *numbers)):
            raise ValueError("it has empty cells")
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        reason = str(error) if type(error) is ValueError else reason_of(error)
        raise UserError(
            f"{folder.documents} cannot be read ({reason}); make it again with: "
            f"minigpt evaluate {folder.path}"
        ) from None
    if not len(names):
        return None
    tokens, size, nats = (column.to_numpy() for column in numbers)
    all_names = names.to_pylist()
    order = sorted(range(len(all_names)), key=lambda i: (all_names[i], size[i]))
    return DocumentTable([all_names[i] for i in order], tokens[order], size[order], nats[order])


def differing_documents(
    first: DocumentTable, second: DocumentTable, *, same_tokenizer: bool
) -> str | None:
    """How the documents of two runs differ, with a count and an example; None if they are the same.

    Documents are the same if they have the same names and bytes. With two tokenizers the bytes may
    differ by the first token, which some networks cannot score.
    """
    if first.names != second.names:
        return _differing_names(first.names, second.names)
    allowed = 0 if same_tokenizer else LONGEST_TOKEN
    apart = np.flatnonzero(np.abs(first.bytes - second.bytes) > allowed)
    if not len(apart):
        return None
    i = int(apart[0])
    return (
        f"{len(apart):,} of {len(first.names):,} documents have other text, such as "
        f"{first.names[i]}, {first.bytes[i]:,} bytes against {second.bytes[i]:,}"
    )


def _differing_names(first: list[str], second: list[str]) -> str:
    extra, missing = Counter(first) - Counter(second), Counter(second) - Counter(first)
    sides = [(extra, "only in the first"), (missing, "only in the second")]
    return " and ".join(
        f"{names.total():,} documents are {word}, such as {min(names)}"
        for names, word in sides
        if names
    )
