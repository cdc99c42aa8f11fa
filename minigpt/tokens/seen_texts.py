"""Remembers which texts were seen, in eight bytes each, to find duplicates."""

from bisect import bisect_left

import numpy as np


class SeenTexts:
    """A set of 64-bit keys: a sorted array, and a small set of the newest."""

    def __init__(self) -> None:
        self._sorted = np.empty(0, np.uint64).data
        self._new: set[int] = set()

    def add(self, key: int) -> bool:
        """Adds a key; True if it is new."""
        at = bisect_left(self._sorted, key)
        if key in self._new or (at < len(self._sorted) and self._sorted[at] == key):
            return False
        self._new.add(key)
        if len(self._new) > 4096 + len(self._sorted) // 8:
            new = np.fromiter(self._new, np.uint64, len(self._new))
            self._sorted = np.union1d(self._sorted, new).data
            self._new = set()
        return True
