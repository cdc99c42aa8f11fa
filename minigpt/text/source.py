"""Source: what every place that documents come from can do."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path

from minigpt.text.document import Document
from minigpt.text.opening import BytesRead

# Held-out documents come first, so that their duplicates are dropped from training.
HELD_OUT_FIRST = ("val", "test", "train")


class Source(ABC):
    """A sequence of documents that is the same each time, and never held in memory as a whole."""

    identity: list[str]  # names the text: sha256 of files, name and revision of datasets
    bytes: int | None  # size of the files; None where they are not on this machine

    @abstractmethod
    def documents(self, read: BytesRead) -> Iterator[Document]:
        """Every document in order; `read` counts the bytes of the files as they are read."""

    def divided(self) -> list["Source"]:
        """Sources whose documents, one source after the other, are those of this one.

        Itself where a document depends on those before it.
        """
        return [self]


def total_size(paths: Iterable[Path]) -> int:
    """The bytes of some files together."""
    return sum(path.stat().st_size for path in paths)
