"""Cuts a corpus that is one long text into sections, so that some of it can be held out."""

from collections.abc import Iterable, Iterator

SECTION_CHARS = 8_000


def sections(pieces: Iterable[str]) -> Iterator[str]:
    """Consecutive parts of SECTION_CHARS characters or a little more, which end with a blank line.

    Where there is no blank line they end with a line, and without a line at SECTION_CHARS.
    """
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


def _section_end(text: str, start: int) -> int:
    least = start + SECTION_CHARS
    for mark in ("\n\n", "\n"):
        if (end := text.find(mark, least, least + SECTION_CHARS)) >= 0:
            return end + len(mark)
    return least
