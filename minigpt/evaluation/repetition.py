"""How often a stretch of tokens occurs in a text.

Shapes: N passages, C tokens of each, S = C - SPAN + 1 spans of each, K tokens of a chunk.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minigpt.tokens.sharded import Tokens

SPAN = 16  # tokens that have to be the same for text to count as repeated; a power of two
CHUNK = 1 << 22  # tokens of the text that are read at a time
FILTER_BITS = 22

Hashes = NDArray[np.uint64]


def count_copies(tokens: Tokens, passages: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """(N, C) tokens -> (N) how often that span of each occurs in the text which occurs most.

    0: no SPAN tokens of the passage are in the text. 1: a passage of the text itself that is not
    repeated in it. Spans are compared by hashes of 64 bits.
    """
    hashes = span_hashes(passages)  # (N, S)
    searched, place = np.unique(hashes, return_inverse=True)
    counts = np.zeros(len(searched), np.int64)
    # Few spans of a text are searched for. A table of the hashes' first bits tells for nearly all.
    possible = np.zeros(1 << FILTER_BITS, bool)
    possible[_first_bits(searched)] = True
    for start in range(0, len(tokens), CHUNK):
        chunk = span_hashes(tokens[start : start + CHUNK + SPAN - 1])
        chunk = chunk[possible[_first_bits(chunk)]]
        at = np.minimum(np.searchsorted(searched, chunk), len(searched) - 1)
        counts += np.bincount(at[searched[at] == chunk], minlength=len(searched))
    return counts[place].reshape(hashes.shape).max(1, initial=0)


def span_hashes(ids: NDArray[np.integer[Any]]) -> Hashes:
    """(..., K) ids -> (..., K - SPAN + 1) hashes of the SPAN ids that begin at each place."""
    hashes = (ids.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    hashes ^= hashes >> np.uint64(29)
    factor, width = 0xD6E8FEB86659FD93, 1
    while width < SPAN:
        # Two neighbouring spans make one of twice the width.
        hashes = hashes[..., :-width] * np.uint64(factor) + hashes[..., width:]
        factor, width = factor * factor % 2**64, 2 * width
    return hashes


def _first_bits(hashes: Hashes) -> NDArray[np.int64]:
    return (hashes >> np.uint64(64 - FILTER_BITS)).astype(np.int64)
