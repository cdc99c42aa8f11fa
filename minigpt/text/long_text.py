"""Cuts text that is too long to hold into pieces, without changing its token ids."""

import re
from collections.abc import Iterable, Iterator

PIECE_CHARS = 1 << 20

# Where tiktoken's encodings start a new word whatever surrounds it: before a lone space, or at a
# line end after a letter or digit.
_BOUNDARY = re.compile(r"(?<=\S)(?= \S)|(?<=[^\W_])(?=\n\S)")


def recut(pieces: Iterable[str]) -> Iterator[str]:
    """The same text in pieces of about PIECE_CHARS characters that end between two words.

    The ids of the pieces, one after another, are those of the whole text. If there is no end of a
    word in PIECE_CHARS characters, the cut is made anyway and a few ids may differ there.
    """
    rest = ""
    for piece in pieces:
        rest += piece
        while len(rest) > PIECE_CHARS:
            cut = _last_boundary(rest[:PIECE_CHARS])
            yield rest[:cut]
            rest = rest[cut:]
    if rest:
        yield rest


def _last_boundary(text: str) -> int:
    start = len(text)
    while start > 0:
        end, start = start, max(0, start - 4096)
        cuts = [m.start() for m in _BOUNDARY.finditer(text, start, end) if m.start()]
        if cuts:
            return cuts[-1]
    return len(text)
