"""The documents of one shard of a token store, in the order of their tokens, a line each."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from minigpt.errors import UserError
from minigpt.ordinary_file import check_ordinary
from minigpt.tokens.sharded import REMAKE


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document of a token store."""

    name: str
    domain: str
    start: int  # position of its first token in its split
    tokens: int  # its end of text included


def document_line(name: str, domain: str, tokens: int) -> bytes:
    """The line that a list holds for a document."""
    return orjson.dumps([name, domain, tokens]) + b"\n"


def read_documents(path: Path, start: int) -> Iterator[StoredDocument]:
    """The documents of a list, whose first token is at `start` in its split.

    Raises UserError where the list is missing or damaged.
    """
    try:
        check_ordinary(path)
        with path.open("rb") as file:
            for line in file:
                name, domain, tokens = orjson.loads(line)
                if type(tokens) is not int or not (type(name) is type(domain) is str):
                    raise TypeError
                yield StoredDocument(name, domain, start, tokens)
                start += tokens
    except (OSError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is missing or damaged ({type(error).__name__}); {REMAKE}"
        ) from None
