"""Records -> their text: the field, what it may hold, and rows joined into documents."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from minigpt.errors import UserError

# (name, text) of a document; text too long to hold is an iterator over its pieces.
Texts = Iterator[tuple[str, str | Iterator[str]]]


def text_of(record: Mapping[str, Any], field: str, place: str) -> str:
    """The text of a record; a null is empty text.

    Raises UserError, naming the place of the record, if the field is missing or holds no text.
    """
    text = record.get(field)
    if isinstance(text, str):
        return replace_lone_surrogates(text)
    if text is None and field in record:
        return ""
    if field not in record:
        there = ", ".join(map(str, record)) or "nothing"
        raise UserError(f"{place}: no field {field!r}, it has {there}; set data.text_field")
    raise UserError(
        f"{place}: its field {field!r} is {type(text).__name__}, not text; name another with "
        "data.text_field"
    )


def replace_lone_surrogates(text: str) -> str:
    """Half a surrogate pair, which JSON can hold and UTF-8 cannot, becomes U+FFFD."""
    try:
        if not text.isascii():
            text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def joined(texts: Iterable[tuple[str, str | Iterator[str]]], start: str) -> Texts:
    """Rows joined into documents. A document begins at each row that the regex `start` matches."""
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
