"""A plain text file: one document."""

import codecs
import io
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from minigpt.errors import UserError
from minigpt.json_text import parse_json
from minigpt.text.long_text import PIECE_CHARS, recut
from minigpt.text.readers.records import Texts


def read_plain(file: BinaryIO, path: Path, field: str) -> Texts:
    """The one document of a text file.

    Raises UserError for bytes that are not UTF-8, for NUL bytes, and for records: a first line
    that is a JSON object with the field of the text.
    """
    pieces = recut(decode(file, path))
    first, second = next(pieces, ""), next(pieces, None)
    _refuse_records(first, path, field)
    yield str(path), first if second is None else chain([first, second], pieces)


def decode(file: BinaryIO, path: Path) -> Iterator[str]:
    """UTF-8 as text, without a byte-order mark, every line end as one newline."""
    decoder = io.IncrementalNewlineDecoder(
        codecs.getincrementaldecoder("utf-8-sig")(), translate=True
    )
    count = 0
    while True:
        content = file.read(PIECE_CHARS)
        if (nul := content.find(b"\0")) >= 0:
            raise UserError(
                f"{path}: byte {count + nul} is NUL, so this is not a text file (or UTF-16 without "
                "a byte-order mark: iconv -f utf-16le -t utf-8); leave it out or convert it"
            )
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


def _refuse_records(text: str, path: Path, field: str) -> None:
    line = text.lstrip()[:PIECE_CHARS].partition("\n")[0]
    if not line.startswith("{"):
        return
    try:
        record = parse_json(line)
    except ValueError:
        return
    if isinstance(record, dict) and field in record:
        raise UserError(
            f"{path}: its first line is a JSON object with the field {field!r}; rename the file so "
            "that it ends with .jsonl, or leave it out"
        )
