"""One file -> its documents, by its ending: text, JSON lines or Parquet, plain or compressed."""

import codecs
import gzip
import io
import json
import lzma
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, cast

from minigpt.errors import UserError
from minigpt.text.long_text import PIECE_CHARS, LongRecord, recut

# A corpus that is one long text is cut into sections of about this many characters.
SECTION_CHARS = 8_000

NO_OBJECT = "no JSON object on this line; mend or remove it, one object a line"
BUFFER = 1 << 18
LONG_LINE = 4 << 20  # bytes; a longer line is never held

JSON_LINES = (".jsonl", ".ndjson", ".json")
COMPRESSED = (".gz", ".xz", ".zst")


@dataclass(frozen=True, slots=True)
class Document:
    """A text that stays whole: no part of it is ever in another split than the rest."""

    name: str
    text: str | Iterator[str]  # pieces, to be read once and in turn, of what is too long to hold
    domain: str
    split: str | None = None  # None: by the hash of the text
    not_in: tuple[str, ...] = ()  # splits that its source has other text for

    def pieces(self) -> Iterator[str]:
        """Its text; of a long document, what is left of it."""
        return iter([self.text]) if isinstance(self.text, str) else self.text


@dataclass
class BytesRead:
    """How much of the files has been read, compressed as they lie."""

    count: int = 0


class _CountedFile(io.FileIO):
    """A file that reports what is read of it."""

    def __init__(self, path: Path, read: BytesRead) -> None:
        super().__init__(path)
        self._read = read

    def readinto(self, buffer: Any) -> int:
        count = super().readinto(buffer) or 0
        self._read.count += count
        return count


def kind(path: Path) -> str:
    """`text`, `json` or `parquet`, by the ending that is left without a compression's."""
    name = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
    ending = name.suffix.lower()
    if ending == ".parquet":
        return "parquet"
    return "json" if ending in JSON_LINES else "text"


def read_texts(
    path: Path, field: str, read: BytesRead
) -> Iterator[tuple[str, str | Iterator[str]]]:
    """(name, text) of everything in a file; a text too long to hold comes as an iterator.

    Raises UserError, naming file and line or byte, where the file is not what its ending says.
    """
    if kind(path) == "parquet":
        yield from _parquet(path, field, read)
        return
    with _open(path, read) as file:
        if kind(path) == "json":
            yield from _json_lines(file, path, field)
            return
        pieces = recut(_decoded(file, path))
        first, second = next(pieces, ""), next(pieces, None)
        yield str(path), first if second is None else chain([first, second], pieces)


def sections(pieces: Iterable[str]) -> Iterator[str]:
    """Consecutive parts of about SECTION_CHARS, cut after a blank line, or a line, where found."""
    rest = ""
    for piece in pieces:
        rest += piece
        at = 0
        while len(rest) - at > 3 * SECTION_CHARS:
            end = _section_end(rest, at)
            yield rest[at:end]
            at = end
        rest = rest[at:]
    at = 0
    while at < len(rest):
        end = _section_end(rest, at)
        yield rest[at:end]
        at = end


def joined(
    texts: Iterable[tuple[str, str | Iterator[str]]], start: str
) -> Iterator[tuple[str, str | Iterator[str]]]:
    """Rows joined into documents, a new one at each row that the regex `start` matches."""
    opening = re.compile(start)
    name, rows = "", list[str]()
    for row_name, text in texts:
        row = text if isinstance(text, str) else "".join(text)
        if rows and opening.search(row):
            yield name, "".join(rows)
            rows = []
        name = name if rows else row_name
        rows.append(row if row.endswith("\n") else row + "\n")
    if rows:
        yield name, "".join(rows)


def text_of(record: dict[str, Any], field: str, place: str) -> str:
    """A record's text, empty where it is null; UserError, saying at which place, without one."""
    text = record.get(field)
    if isinstance(text, str):
        return without_halves(text)
    if text is None and field in record:
        return ""
    if field not in record:
        there = ", ".join(map(str, record)) or "nothing"
        raise UserError(f"{place}: no field {field!r}, it has {there}; set data.text_field")
    raise UserError(
        f"{place}: its field {field!r} is {type(text).__name__}, not text; name another with "
        "data.text_field"
    )


def without_halves(text: str) -> str:
    """Half a surrogate pair, which JSON can hold and text cannot, as a replacement character."""
    try:
        if not text.isascii():
            text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _section_end(text: str, start: int) -> int:
    least = start + SECTION_CHARS
    for mark in ("\n\n", "\n"):
        if (found := text.find(mark, least, least + SECTION_CHARS)) >= 0:
            return found + len(mark)
    return least


class _Stream(io.RawIOBase):
    """Bytes of a file, decompressed; what reading can raise becomes a line that names the file."""

    def __init__(self, path: Path, stream: Any, errors: tuple[type[Exception], ...]) -> None:
        self._path = path
        self._stream = stream
        self._errors = errors

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            return self._stream.readinto(buffer)
        except self._errors as error:
            raise UserError(f"{self._path}: damaged or cut short ({error}); get it again") from None
        except OSError as error:
            raise UserError(f"{self._path}: cannot be read ({error.strerror})") from None


@contextmanager
def _open(path: Path, read: BytesRead) -> Iterator[BinaryIO]:
    try:
        raw = _CountedFile(path, read)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    with raw:
        stream: Any = raw
        errors: tuple[type[Exception], ...] = ()
        if path.suffix.lower() in COMPRESSED:
            stream, errors = _unpacked(path, io.BufferedReader(raw, BUFFER))
        yield cast(BinaryIO, io.BufferedReader(_Stream(path, stream, errors), BUFFER))


def _unpacked(path: Path, packed: BinaryIO) -> tuple[Any, tuple[type[Exception], ...]]:
    """A stream of what a compressed file holds, and what reading a damaged one raises."""
    if path.suffix.lower() == ".gz":
        return gzip.GzipFile(fileobj=packed), (EOFError, gzip.BadGzipFile, zlib.error)
    if path.suffix.lower() == ".xz":
        return lzma.LZMAFile(packed), (EOFError, lzma.LZMAError)
    pyarrow = optional("pyarrow", path)
    return pyarrow.CompressedInputStream(pyarrow.PythonFile(packed, mode="r"), "zstd"), (OSError,)


def optional(module: str, needed_for: object) -> Any:
    """An optional dependency; UserError that names the extra where it is not installed."""
    try:
        return __import__(module)
    except ImportError:
        raise UserError(
            f"{needed_for} needs the package {module}: pip install 'minigpt[data]'"
        ) from None


def _decoded(file: BinaryIO, path: Path) -> Iterator[str]:
    """UTF-8 without a byte-order mark, line ends as one newline."""
    decoder = io.IncrementalNewlineDecoder(
        codecs.getincrementaldecoder("utf-8-sig")(), translate=True
    )
    count = 0
    while True:
        content = file.read(PIECE_CHARS)
        count += len(content)
        try:
            text = decoder.decode(content, final=not content)
        except UnicodeDecodeError as error:
            offset = count - len(error.object) + error.start
            raise UserError(
                f"{path}: byte {offset} is not UTF-8 ({error.reason}); "
                "convert the file (iconv -t utf-8) or leave it out"
            ) from None
        if text:
            yield text
        if not content:
            return


def _json_lines(
    file: BinaryIO, path: Path, field: str
) -> Iterator[tuple[str, str | Iterator[str]]]:
    number = 0
    while line := file.readline(LONG_LINE):
        number += 1
        name = f"{path}:{number}"
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if len(line) >= LONG_LINE - len(codecs.BOM_UTF8) and not line.endswith(b"\n"):
            yield name, _long_text(line, file, field, name)
            continue
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise UserError(f"{name}: {NO_OBJECT} ({_reason(error)})") from None
        if not isinstance(record, dict):
            raise UserError(f"{name}: {NO_OBJECT} ({type(record).__name__})")
        yield name, text_of(record, field, name)


def _reason(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"character {error.pos + 1}: {error.msg}"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not UTF-8"
    return str(error)


def _long_text(head: bytes, file: BinaryIO, field: str, name: str) -> Iterator[str]:
    ended = False

    def rest_of_line() -> bytes:
        nonlocal ended
        found = b"" if ended else file.readline(PIECE_CHARS)
        ended = not found or found.endswith(b"\n")
        return found

    try:
        yield from recut(map(without_halves, LongRecord(head, rest_of_line).text(field)))
    except KeyError:
        raise UserError(f"{name}: no text in a field {field!r}; set data.text_field") from None
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{name}: {NO_OBJECT} ({_reason(error)})") from None


def _parquet(path: Path, field: str, read: BytesRead) -> Iterator[tuple[str, str]]:
    optional("pyarrow", path)
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)
        if field not in file.schema_arrow.names:
            there = ", ".join(file.schema_arrow.names)
            raise UserError(f"{path}: no column {field!r}, it has {there}; set data.text_field")
        number = 0
        for batch in file.iter_batches(batch_size=64, columns=[field]):
            for text in batch.column(0).to_pylist():
                number += 1
                name = f"{path} row {number}"
                yield name, text_of({field: text}, field, name)
    except pa.ArrowException as error:
        raise UserError(
            f"{path}: damaged or no Parquet ({str(error).splitlines()[0]}); get it again"
        ) from None
    read.count += path.stat().st_size
