"""Text too long to hold: cut where the tokenizer's view of it does not change."""

import json
import re
from collections.abc import Callable, Iterable, Iterator

PIECE_CHARS = 1 << 20

# Where tiktoken's encodings start a new word whatever surrounds it: before a lone space, or a line
# end after a letter or digit.
_BOUNDARY = re.compile(r"(?<=\S)(?= \S)|(?<=[^\W_])(?=\n\S)")


def recut(pieces: Iterable[str]) -> Iterator[str]:
    """The same text in pieces of about PIECE_CHARS whose ids, one after another, are the whole's.

    Each piece ends between two words. Text without an end of a word for PIECE_CHARS is cut all the
    same, and there its ids may differ from the whole's by a few.
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
        found = [m.start() for m in _BOUNDARY.finditer(text, start, end) if m.start()]
        if found:
            return found[-1]
    return len(text)


# As much of a JSON string as can be decoded by itself: no character, escape or surrogate pair in
# two.
_DECODABLE = re.compile(
    rb"(?:[^\"\\\x80-\xff]++|[\xc0-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}"
    rb"|[\xf0-\xf7][\x80-\xbf]{3}|\\[^u]|\\u(?![dD][89abAB])[0-9a-fA-F]{4}"
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}(?=[^\\]|\\[^u]|.{6}))*+",
    re.DOTALL,
)
LONGEST_UNIT = 12  # bytes: two escapes that make a surrogate pair
_TOKEN = re.compile(rb"\s*([{}\[\],:\"]|[^\s{}\[\],:\"]+)")


class LongRecord:
    """A JSON object on one line, read without ever holding the line.

    Raises ValueError where the line is no JSON object.
    """

    def __init__(self, head: bytes, read: Callable[[], bytes]) -> None:
        self._buffer = head
        self._at = 0  # what stands before it in the buffer is done with
        self._read = read  # the next bytes of the line; nothing at its end

    def text(self, field: str) -> Iterator[str]:
        """The pieces of a field's string; after the last one the line has been read to its end.

        Raises KeyError where the object has no such field.
        """
        if self._token() != b"{":
            raise ValueError("no object")
        open_signs, key, is_key, found = [b"{"], "", True, False
        while open_signs:
            token = self._token()
            if token == b'"':
                string = self._string()
                if len(open_signs) == 1 and is_key:
                    key = "".join(string)
                    if found and key == field:
                        raise ValueError(f"its field {field!r} is there twice")
                elif len(open_signs) == 1 and key == field:
                    found = True
                    yield from string
                else:
                    for _ in string:
                        pass
            elif token in (b"{", b"["):
                open_signs.append(token)
            elif token in (b"}", b"]"):
                if open_signs.pop() + token not in (b"{}", b"[]"):
                    raise ValueError(f"a {token.decode()} that closes nothing")
            elif token == b",":
                is_key = True
            elif token == b":":
                is_key = False
        if not found:
            raise KeyError(field)
        rest = self._buffer[self._at :] or self._read()
        while rest:
            if rest.strip():
                raise ValueError("there is more after the object")
            rest = self._read()

    def _more(self) -> None:
        found = self._read()
        if not found:
            raise ValueError("the line ends within the object")
        self._buffer = self._buffer[self._at :] + found
        self._at = 0

    def _token(self) -> bytes:
        # A number can go on in what is not read yet, but only signs and strings matter here.
        while (found := _TOKEN.match(self._buffer, self._at)) is None:
            self._more()
        self._at = found.end()
        return found[1]

    def _string(self) -> Iterator[str]:
        """The pieces of the string whose opening quote is read, up to its closing one."""
        while True:
            found = _DECODABLE.match(self._buffer, self._at)
            assert found is not None  # it matches nothing at all, too
            if found.end() > self._at:
                yield json.loads(b'"' + self._buffer[self._at : found.end()] + b'"')
                self._at = found.end()
            if self._buffer[self._at : self._at + 1] == b'"':
                self._at += 1
                return
            if len(self._buffer) - self._at > LONGEST_UNIT:
                where = self._buffer[self._at : self._at + LONGEST_UNIT]
                raise ValueError(f"cannot be decoded: {where!r}")
            self._more()
