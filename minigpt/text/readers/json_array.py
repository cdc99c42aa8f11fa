"""A JSON array of objects: one document an object, in the field that data.text_field names.

The array is never held: objects are parsed one by one, and the text of a long one is read in
pieces.
"""

import codecs
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from minigpt.errors import UserError
from minigpt.text.long_text import recut
from minigpt.text.readers.json_lines import reason
from minigpt.text.readers.long_record import LONGEST_UNIT, LongRecord
from minigpt.text.readers.plain import decode
from minigpt.text.readers.records import Texts, replace_lone_surrogates, text_of

LONG_OBJECT = 4 << 20  # characters; the text of a longer object is read in pieces

WAY_OUT = "mend the file, or write one object a line (.jsonl)"

_SPACE = re.compile(r"\s*")


def is_array(file: BinaryIO) -> bool:
    """True if a JSON file begins with a square bracket."""
    assert isinstance(file, io.BufferedReader)
    return file.peek(64).removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"[")


def read_json_array(file: BinaryIO, path: Path, field: str) -> Texts:
    """The texts of the objects of an array.

    Raises UserError, naming the item (the first is 1), where it is not a JSON object or has no
    such field, or where the array is cut short.
    """
    window = _Window(decode(file, path))
    window.next_character()
    window.at += 1  # the opening bracket
    number = 0
    character = window.next_character()
    while character != "]":
        number += 1
        name = f"{path} item {number}"
        if character != "{":
            problem = "cut short" if not character else f"{character!r} where an object belongs"
            raise UserError(f"{name}: {problem}; {WAY_OUT}")
        record = _parse_object(window, name)
        if record is None:
            yield name, _long_text(window, field, name)
        else:
            yield name, text_of(record, field, name)
        character = window.next_character()
        if character == ",":
            window.at += 1
            character = window.next_character()
        elif character != "]":
            problem = "cut short" if not character else f"{character!r} where a comma belongs"
            raise UserError(f"{name}: {problem} after it; {WAY_OUT}")
    window.at += 1
    if window.next_character():
        raise UserError(f"{path}: there is more after the array; {WAY_OUT}")


class _Window:
    """The part of a text that is being parsed: `text` from `at` on, and what follows on demand."""

    def __init__(self, pieces: Iterator[str]) -> None:
        self.text = ""
        self.at = 0
        self.pieces = pieces

    def read_on(self) -> bool:
        """Adds a piece; False if there is none."""
        piece = next(self.pieces, "")
        self.text = self.text[self.at :] + piece
        self.at = 0
        return bool(piece)

    def next_character(self) -> str:
        """The next character that is not white space, or "" at the end. It is not consumed."""
        while True:
            space = _SPACE.match(self.text, self.at)
            assert space is not None  # the pattern matches the empty string, too
            self.at = space.end()
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.read_on():
                return ""


def _parse_object(window: _Window, name: str) -> dict[str, Any] | None:
    """The object at the start of the window; None if it is longer than LONG_OBJECT."""
    decoder = json.JSONDecoder()
    while True:
        try:
            record, window.at = decoder.raw_decode(window.text, window.at)
            return record
        except json.JSONDecodeError as error:
            # Else the error is only that the object goes on in what is not read yet.
            near_the_end = error.pos >= len(window.text) - LONGEST_UNIT
            if not near_the_end and not error.msg.startswith("Unterminated string"):
                raise UserError(f"{name}: not JSON ({error.msg}); {WAY_OUT}") from None
        except (ValueError, RecursionError) as error:
            raise UserError(f"{name}: not JSON ({reason(error)}); {WAY_OUT}") from None
        if len(window.text) - window.at > LONG_OBJECT:
            return None
        if not window.read_on():
            raise UserError(f"{name}: cut short; {WAY_OUT}")


def _long_text(window: _Window, field: str, name: str) -> Iterator[str]:
    """The pieces of an object's text; after the last one the window begins behind the object."""
    record = LongRecord(window.text[window.at :].encode(), lambda: next(window.pieces, "").encode())
    window.text, window.at = "", 0
    try:
        yield from recut(map(replace_lone_surrogates, record.text(field)))
    except KeyError:
        raise UserError(f"{name}: no text in a field {field!r}; set data.text_field") from None
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{name}: not JSON ({reason(error)}); {WAY_OUT}") from None
    window.text = record.rest().decode()
