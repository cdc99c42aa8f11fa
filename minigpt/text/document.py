"""Document: the unit of text that is never divided between splits."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Document:
    """One text with its name and the part of the corpus it belongs to."""

    name: str
    text: str | Iterator[str]  # an iterator gives a long text in pieces, once
    domain: str
    split: str | None = None  # None: the hash of the text decides
    not_in: tuple[str, ...] = ()  # splits that the source has named other text for
    planted: bool = False  # a canary: kept whole, as often as it comes

    def pieces(self) -> Iterator[str]:
        """The text in pieces. A long text can be read only once."""
        return iter([self.text]) if isinstance(self.text, str) else self.text
