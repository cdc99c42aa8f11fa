"""Decides which split a document is in by the hash of its text: no text is in two splits."""

import hashlib
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from minigpt.text.document import Document

SPLITS = ("train", "val", "test")


class Digest:
    """The sha256 of a text that may come in pieces."""

    def __init__(self, *pieces: str) -> None:
        self._hash = hashlib.sha256()
        self.chars = 0
        for piece in pieces:
            self.update(piece)

    def update(self, piece: str) -> None:
        self._hash.update(piece.encode())
        self.chars += len(piece)

    @property
    def digest(self) -> bytes:
        """The hash of what came so far."""
        return self._hash.digest()

    @property
    def place(self) -> float:
        """A number in [0, 1) from the first 48 bits of the hash; it decides the split."""
        return int.from_bytes(self.digest[:6], "big") / 2**48

    @property
    def key(self) -> int:
        """Another 64 bits of the hash; equal keys mean equal texts."""
        return int.from_bytes(self.digest[8:16], "big")

    def draw(self, seed: int) -> float:
        """A number in [0, 1) that follows from the text and a seed."""
        drawn = hashlib.sha256(self.digest + seed.to_bytes(8, "big")).digest()
        return int.from_bytes(drawn[:6], "big") / 2**48


class StoredDigest(Digest):
    """That of a text which was read before."""

    def __init__(self, digest: bytes, chars: int) -> None:
        self._digest = digest
        self.chars = chars

    @property
    def digest(self) -> bytes:
        return self._digest


@dataclass(frozen=True)
class HeldOut:
    """Places below `test` are for the test, from there to `val` for validation, others to train."""

    test: float
    val: float

    def split(self, at: float) -> str:
        """The split of a text by its place."""
        return "test" if at < self.test else "val" if at < self.val else "train"


def held_out(
    places: Iterable[float], val: float, test: float, named: Collection[str] = ()
) -> HeldOut:
    """The rule that holds out the shares val and test of the documents at some places.

    With a few documents a share can hold none of them or all. Each share above 0 is then made to
    hold one at least, as far as they go: training comes first, then validation, then the test.
    named: splits whose text the source names; documents of their shares are trained on.
    """
    ordered = sorted(set(places))
    if test and len(ordered) > 2 and ordered[0] >= test:
        test = math.nextafter(ordered[0], 1)
    upper = test + val
    after_test = [at for at in ordered if at >= test]
    if val and len(after_test) > 1 and after_test[0] >= upper:
        upper = math.nextafter(after_test[0], 1)
    rule = HeldOut(test, upper)

    needs_val = bool(val) and "val" not in named and len(ordered) > 1
    splits = ["train" if rule.split(at) in named else rule.split(at) for at in ordered]
    if not ordered or ("train" in splits and ("val" in splits or not needs_val)):
        return rule
    # The highest place is left to train on, the one before it to validate on.
    return HeldOut(min(test, ordered[-2] if needs_val else ordered[-1]), ordered[-1])


def split_of(document: Document, whole: Digest, rule: HeldOut) -> str:
    """The split of a document: the one that its source names, else the one of its hash."""
    split = document.split or rule.split(whole.place)
    return "train" if document.split is None and split in document.not_in else split
