"""The order of blocks: a pure function of (seed, epoch, position).

Any batch of any epoch can be computed without those before it, so resuming needs no saved state.
"""

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]

ROUNDS = 6


def block_order(positions: Indices, n_blocks: int, seed: int, epoch: int) -> Indices:
    """The blocks at some positions of a shuffled epoch.

    A keyed permutation of range(n_blocks) with O(1) memory: a balanced Feistel network (Luby and
    Rackoff, 1988) over the next even power of two, walking the cycle while a value lies outside
    the range (Black and Rogaway, 2002). positions: (P) int64 in [0, n_blocks) -> (P) int64.
    """
    half = np.uint64(max(1, (int(n_blocks - 1).bit_length() + 1) // 2))
    keys = _round_keys(seed, epoch)
    values = _feistel(positions.astype(np.uint64), half, keys)
    while (outside := values >= n_blocks).any():
        values[outside] = _feistel(values[outside], half, keys)
    return values.astype(np.int64)


def _round_keys(seed: int, epoch: int) -> NDArray[np.uint64]:
    return np.random.SeedSequence([seed, epoch]).generate_state(ROUNDS, np.uint64).astype(np.uint64)


def _feistel(
    values: NDArray[np.uint64], half: np.uint64, keys: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    mask = (np.uint64(1) << half) - np.uint64(1)
    left, right = values >> half, values & mask
    for key in keys:
        left, right = right, left ^ (_mix(right ^ key) & mask)
    return (left << half) | right


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser (Steele, Lea and Flood, 2014); products wrap on purpose."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
