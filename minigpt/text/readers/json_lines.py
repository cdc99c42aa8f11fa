"""JSON lines: one document a line, in the field that data.text_field names."""

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from minigpt.errors import UserError
from minigpt.text.long_text import PIECE_CHARS, recut
from minigpt.text.readers.long_record import LongRecord
from minigpt.text.readers.records import Texts, replace_lone_surrogates, text_of

LONG_LINE = 4 << 20  # bytes; a longer line is read in pieces

NOT_AN_OBJECT = (
    "not a JSON object; write one object a line, or an array of objects, or remove this line"
)


def read_json_lines(file: BinaryIO, path: Path, field: str) -> Texts:
    """The texts of a file's lines. Blank lines are skipped.

    Raises UserError, naming the line, where it is not a JSON object or has no such field.
    """
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
            record = parse(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{name}: {NOT_AN_OBJECT} ({reason(error)})") from None
        if not isinstance(record, dict):
            raise UserError(f"{name}: {NOT_AN_OBJECT} ({type(record).__name__})")
        yield name, text_of(record, field, name)


def parse(content: bytes) -> Any:
    """Any JSON that Python's own parser takes, mostly three times as fast."""
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:  # NaN or half a surrogate pair; or an error, which it explains
        return json.loads(content)


def reason(error: Exception) -> str:
    """What a JSON parser complains about, in a few words."""
    if isinstance(error, json.JSONDecodeError):
        return f"character {error.pos + 1}: {error.msg}"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not UTF-8"
    return str(error)


def _long_text(head: bytes, file: BinaryIO, field: str, name: str) -> Iterator[str]:
    """The pieces of a line's text; after the last one the line is read to its end."""
    ended = False

    def rest_of_line() -> bytes:
        nonlocal ended
        content = b"" if ended else file.readline(PIECE_CHARS)
        ended = not content or content.endswith(b"\n")
        return content

    record = LongRecord(head, rest_of_line)
    try:
        yield from recut(map(replace_lone_surrogates, record.text(field)))
        record.check_end()
    except KeyError:
        raise UserError(f"{name}: no text in a field {field!r}; set data.text_field") from None
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{name}: {NOT_AN_OBJECT} ({reason(error)})") from None
