"""The bytes of tokens -> text, as soon as it is certain."""

import codecs
from collections.abc import Sequence


class TextStream:
    """Text that grows by the bytes of a token at a time, up to the first stop string.

    A token may end inside a character, and a text may end inside what becomes a stop string: such
    an end is held back until the next tokens tell.
    """

    def __init__(self, stop: Sequence[str] = ()) -> None:
        self.stop = stop
        self.stopped = False  # a stop string came; what is behind it does not count
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""  # could be the beginning of a stop string

    def push(self, token: bytes) -> str:
        """The text that has become certain with these bytes."""
        text = self._held + self._decoder.decode(token)
        # The stop string that is complete first counts, wherever the tokens happen to end.
        ends = [(at + len(stop), at) for stop in self.stop if (at := text.find(stop)) >= 0]
        if ends:
            self.stopped = True
            return text[: min(ends)[1]]
        held = max((_overlap(text, stop) for stop in self.stop), default=0)
        certain = len(text) - held
        self._held = text[certain:]
        return text[:certain]

    def close(self) -> str:
        """The text that was held back; half a character becomes U+FFFD."""
        return self._held + self._decoder.decode(b"", final=True)


def _overlap(text: str, stop: str) -> int:
    """How many characters of the text's end could begin the stop string."""
    sizes = range(min(len(text), len(stop) - 1), 0, -1)
    return next((size for size in sizes if stop.startswith(text[-size:])), 0)
