"""Reads one field of a JSON object that is too long to hold, such as a book on one line."""

import json
import re
from collections.abc import Callable, Iterator

# As much of a JSON string as can be decoded by itself: it cuts no character, escape or surrogate
# pair in two.
_DECODABLE = re.compile(
    rb"(?:[^\"\\\x80-\xff]++|[\xc0-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}"
    rb"|[\xf0-\xf7][\x80-\xbf]{3}|\\[^u]|\\u(?![dD][89abAB])[0-9a-fA-F]{4}"
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}(?=[^\\]|\\[^u]|.{6}))*+",
    re.DOTALL,
)
LONGEST_UNIT = 12  # bytes: two escapes that make a surrogate pair
_TOKEN = re.compile(rb"\s*([{}\[\],:\"]|[^\s{}\[\],:\"]+)")

LONGEST_KEY = 1 << 20  # characters
DEEPEST = 1000  # brackets in one another


class LongRecord:
    """A JSON object in a stream of bytes.

    `head` is what was read of it already; `read` gives the next bytes, and b"" at the end.
    """

    def __init__(self, head: bytes, read: Callable[[], bytes]) -> None:
        self._buffer = head
        self._at = 0  # the buffer is used up to here
        self._read = read

    def text(self, field: str) -> Iterator[str]:
        """The pieces of a field's string. After the last one the object is read to its end.

        Raises ValueError where this is not a JSON object, and KeyError without such a field.
        """
        if self._token() != b"{":
            raise ValueError("it does not begin with {")
        open_brackets, key, is_key, has_field = [b"{"], "", True, False
        while open_brackets:
            token = self._token()
            if token == b'"':
                string = self._string()
                if len(open_brackets) == 1 and is_key:
                    key = _joined_key(string)
                    if has_field and key == field:
                        raise ValueError(f"its field {field!r} is there twice")
                elif len(open_brackets) == 1 and key == field:
                    has_field = True
                    yield from string
                else:
                    for _ in string:
                        pass
            elif token in (b"{", b"["):
                open_brackets.append(token)
                if len(open_brackets) > DEEPEST:
                    raise ValueError("it is nested too deeply")
            elif token in (b"}", b"]"):
                if open_brackets.pop() + token not in (b"{}", b"[]"):
                    raise ValueError(f"a {token.decode()} that closes nothing")
            elif token == b",":
                is_key = True
            elif token == b":":
                is_key = False
        if not has_field:
            raise KeyError(field)

    def rest(self) -> bytes:
        """What was read beyond the end of the object."""
        return self._buffer[self._at :]

    def check_end(self) -> None:
        """Reads on to the end. Raises ValueError if there is more than white space."""
        rest = self.rest() or self._read()
        while rest:
            if rest.strip():
                raise ValueError("there is more after the object")
            rest = self._read()

    def _more(self) -> None:
        content = self._read()
        if not content:
            raise ValueError("it ends within the object")
        self._buffer = self._buffer[self._at :] + content
        self._at = 0

    def _token(self) -> bytes:
        # A number may go on in bytes that are not read yet; only brackets and strings matter here.
        while (match := _TOKEN.match(self._buffer, self._at)) is None:
            self._at = len(self._buffer)  # all of it is white space
            self._more()
        self._at = match.end()
        return match[1]

    def _string(self) -> Iterator[str]:
        """The pieces of a string, from behind its opening quote to its closing one."""
        while True:
            match = _DECODABLE.match(self._buffer, self._at)
            assert match is not None  # the pattern matches the empty string, too
            if match.end() > self._at:
                yield json.loads(b'"' + self._buffer[self._at : match.end()] + b'"')
                self._at = match.end()
            if self._buffer[self._at : self._at + 1] == b'"':
                self._at += 1
                return
            if len(self._buffer) - self._at > LONGEST_UNIT:
                where = self._buffer[self._at : self._at + LONGEST_UNIT]
                raise ValueError(f"cannot be decoded: {where!r}")
            self._more()


def _joined_key(pieces: Iterator[str]) -> str:
    """The name of a field. Raises ValueError for one that is longer than any."""
    key = ""
    for piece in pieces:
        key += piece
        if len(key) > LONGEST_KEY:
            raise ValueError(f"a field's name has more than {LONGEST_KEY:,} characters")
    return key
