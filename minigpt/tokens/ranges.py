"""A corpus divided into ranges, which workers tokenize and one writer takes in order.

A range is some of the corpus's files, one after the other. A worker writes its ids and a line about
each document; the record of both is written last. What depends on other documents (duplicates,
max_tokens, where a part of the store ends) is decided by the one writer, as of a text that it reads
itself, so the store has the same bytes.
"""

import json
import shutil
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minigpt.atomic_file import explain_disk_errors, write_file
from minigpt.errors import UserError
from minigpt.json_text import parse_json
from minigpt.ordinary_file import read_text
from minigpt.text.document import Document
from minigpt.text.opening import BytesRead
from minigpt.text.source import Source
from minigpt.tokens.durable import DISK_WAY_OUT, DurableFile
from minigpt.tokens.pipeline import Piece, tokenized
from minigpt.tokens.sharded import Ids
from minigpt.tokens.split import Digest, StoredDigest
from minigpt.tokens.tokenizer import Tokenizer, id_dtype

RANGE_BYTES = 1 << 26  # a range ends with the file that brings it to this size
BATCH_DOCUMENTS = 256
LONG_TOKENS = 1 << 20  # of a document that is handed on in pieces


@dataclass(frozen=True)
class Job:
    """What a worker has to know, in a file of the ranges' folder."""

    config: dict[str, Any]  # the keys of `data`
    tokenizer: dict[str, Any]
    text: list[str]  # the source's identity
    ranges: list[list[int]]  # first and end of each, in the source's parts

    def write(self, folder: Path) -> None:
        """Write the job; the ranges of another one are deleted."""
        path, content = folder / "job.json", json.dumps(asdict(self))
        if path.is_file() and path.read_text("utf-8") == content:
            return
        with explain_disk_errors(folder, DISK_WAY_OUT):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            write_file(path, content, DISK_WAY_OUT)

    @classmethod
    def read(cls, folder: Path) -> "Job":
        return cls(**parse_json(read_text(folder / "job.json")))


def divide(sizes: Sequence[int | None]) -> list[list[int]]:
    """First and end of each range, of a source whose parts have these bytes.

    They do not depend on the number of workers, so another number goes on from the same ranges.
    """
    ranges, first, size = [], 0, 0
    for number, part in enumerate(sizes):
        size += part or 0
        if size >= RANGE_BYTES or part is None or number == len(sizes) - 1:
            ranges.append([first, number + 1])
            first, size = number + 1, 0
    return ranges


class RangeFiles:
    """The files of one range."""

    def __init__(self, folder: Path, number: int) -> None:
        self.ids = folder / f"{number:05}.bin"
        self.documents = folder / f"{number:05}.jsonl"
        self.record = folder / f"{number:05}.json"
        self.error = folder / f"{number:05}.error"

    @property
    def is_finished(self) -> bool:
        """True if the record is there and names the sizes of the files."""
        try:
            record = parse_json(read_text(self.record))
            return (self.ids.stat().st_size, self.documents.stat().st_size) == (
                record["ids_bytes"],
                record["documents_bytes"],
            )
        except (OSError, KeyError, TypeError, ValueError):
            return False


def write_range(files: RangeFiles, parts: Sequence[Source], tokenizer: Tokenizer) -> None:
    """Write the ids and documents of a range's parts, then its record."""
    read = BytesRead()
    documents = (document for part in parts for document in part.documents(read))
    encode = tokenizer.batch_encoder()
    dtype = id_dtype(tokenizer.n_vocab - 1)
    with explain_disk_errors(files.ids, DISK_WAY_OUT):
        # Two workers can have the same range, where an engine starts one again.
        writer = f".{uuid.uuid4().hex}"
        ids, lines = DurableFile(files.ids, writer), DurableFile(files.documents, writer)
        try:
            # One thread beside that which reads: the other cores have workers of their own.
            with ThreadPoolExecutor(1) as pool:
                tokens = 0
                for batch in tokenized(documents, encode, dtype, 0, pool):
                    for piece in batch:
                        assert piece.ids is not None
                        ids.write(piece.ids.data)
                        tokens += len(piece.ids)
                        if piece.whole is not None:
                            lines.write(_document_line(piece, tokens))
                            tokens = 0
            ids.finish()
            lines.finish()
        finally:
            ids.close()
            lines.close()
        record = {"ids_bytes": ids.size, "documents_bytes": lines.size, "read_bytes": read.count}
        write_file(files.record, json.dumps(record), DISK_WAY_OUT)


def _document_line(piece: Piece, tokens: int) -> bytes:
    document, whole = piece.document, piece.whole
    assert whole is not None
    line = [document.name, document.domain, document.split, document.not_in, document.planted,
            whole.digest.hex(), whole.chars, tokens]  # fmt: skip
    return json.dumps(line).encode() + b"\n"


def read_range(
    folder: Path, number: int, dtype: np.dtype[Any], skip: int, read: BytesRead
) -> Iterator[list[Piece]]:
    """The documents of a finished range, a piece each, in batches.

    The ids of the first `skip` documents, which finished parts of the store hold, are left out.
    """
    files = RangeFiles(folder, number)
    size = files.ids.stat().st_size
    try:
        ids: Ids = np.memmap(files.ids, dtype, "r") if size else np.empty(0, dtype)
    except OSError as error:
        raise UserError(f"{files.ids} cannot be read ({error.strerror})") from None
    batch: list[Piece] = []
    at = 0
    with files.documents.open("rb") as lines:
        for place, line in enumerate(lines):
            name, domain, split, not_in, planted, digest, chars, tokens = json.loads(line)
            document = Document(name, "", domain, split, tuple(not_in), planted)
            whole = StoredDigest(bytes.fromhex(digest), chars)
            if place < skip:
                batch.append(Piece(document, "", chars, whole))
            else:
                batch += _pieces(document, whole, ids[at : at + tokens])
            at += tokens
            if len(batch) >= BATCH_DOCUMENTS:
                yield batch
                batch = []
    read.count += parse_json(read_text(files.record))["read_bytes"]
    yield batch


def _pieces(document: Document, whole: Digest, ids: Ids) -> Iterator[Piece]:
    """A document as one piece, or as several that the writer need not hold together."""
    starts = range(0, len(ids), LONG_TOKENS)
    for start in starts[:-1]:
        yield Piece(document, "", 0, None, False, ids[start : start + LONG_TOKENS])
    last = ids[starts[-1] :] if starts else ids
    yield Piece(document, "", whole.chars, whole, len(starts) < 2, last)


def count_documents(folder: Path, number: int) -> int:
    """Documents of a finished range."""
    with RangeFiles(folder, number).documents.open("rb") as lines:
        return sum(1 for _ in lines)
