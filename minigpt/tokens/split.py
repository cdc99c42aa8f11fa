"""Which documents are held out: a rule on the hash of the text, so no text is in two splits."""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass

SPLITS = ("train", "val", "test")


class Digest:
    """The hash that stands for a text, read in pieces: equal texts are one document."""

    def __init__(self, *pieces: str) -> None:
        self._hash = hashlib.sha256()
        self.chars = 0
        for piece in pieces:
            self.update(piece)

    def update(self, piece: str) -> None:
        self._hash.update(piece.encode())
        self.chars += len(piece)

    @property
    def place(self) -> float:
        """Where the hash puts the text in [0, 1)."""
        return int.from_bytes(self._hash.digest()[:6], "big") / 2**48

    @property
    def key(self) -> int:
        """64 other bits of the hash, to know the text again by."""
        return int.from_bytes(self._hash.digest()[8:16], "big")


@dataclass(frozen=True)
class HeldOut:
    """Places below `test` are for the test, from there to `val` for validation, the rest train."""

    test: float
    val: float

    def split(self, at: float) -> str:
        """The split of a text by its place."""
        return "test" if at < self.test else "val" if at < self.val else "train"


def held_out(places: Iterable[float], val: float, test: float) -> HeldOut:
    """The rule that holds out shares val and test of the documents at some places.

    In a corpus of a few documents a share can hold none of them; it is then widened to hold one,
    validation's first, as long as one is left to train on. A share of 0 stays empty.
    """
    ordered = sorted(set(places))
    if test and len(ordered) > 2 and ordered[0] >= test:
        test = math.nextafter(ordered[0], 1)
    upper = test + val
    after_test = [at for at in ordered if at >= test]
    if val and len(after_test) > 1 and after_test[0] >= upper:
        upper = math.nextafter(after_test[0], 1)
    return HeldOut(test, upper)
