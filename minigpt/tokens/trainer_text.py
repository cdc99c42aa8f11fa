"""Keeps time and memory of a tokenizer's trainer bounded, whatever the text.

A trainer needs about 200 bytes for each character of each distinct word, and the time of a merge
grows with the length of a word. Natural text repeats its words; hashes and random strings do not,
and a language written without spaces, or base64, has words without end.
"""

import re
from collections.abc import Iterator, Sequence

LONGEST_WORD = 256  # characters
MOST_DISTINCT = 2_500_000  # characters of distinct words; 100 MB of English have fewer

_WORD = re.compile(rf"\w{{1,{LONGEST_WORD}}}|[^\w\s]{{1,{LONGEST_WORD}}}")
_LONG = re.compile(rf"\w{{{LONGEST_WORD}}}|[^\w\s]{{{LONGEST_WORD}}}|\s{{{LONGEST_WORD}}}")


def cut_long_words(text: str) -> Iterator[str]:
    """The text in pieces, cut in words and in white space of more than LONGEST_WORD characters."""
    start = 0
    for match in _LONG.finditer(text):
        yield text[start : match.end()]
        start = match.end()
    if start < len(text):
        yield text[start:]


def within_memory(contents: Sequence[bytes], most: int = MOST_DISTINCT) -> list[bytes]:
    """The first contents whose distinct words have about `most` characters; the last may be cut."""
    seen: set[str] = set()
    distinct = 0
    for i, content in enumerate(contents):
        new = {*_WORD.findall(content.decode("utf-8", "ignore"))} - seen
        size = sum(map(len, new))
        if distinct + size > most:
            beginning = content[: most - distinct]
            return [*contents[:i], *([beginning] if beginning else [])]
        seen |= new
        distinct += size
    return [*contents]
