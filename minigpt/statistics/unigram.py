"""What token frequencies alone make of a text: the loss of a model that ignores the context."""

import numpy as np
from numpy.typing import NDArray

SMOOTHINGS = (1.0, 0.1, 0.01, 0.001)


def unigram_nats(known: NDArray[np.int64], counts: NDArray[np.int64]) -> float:
    """(V) counts in a known text, (V) counts in another -> nats a token of the other.

    Each of the V ids is counted a little more often than it occurs (Lidstone smoothing), by the
    one of SMOOTHINGS that suits the other text best: the comparison is as hard as it can be.
    """
    losses = []
    for smoothing in SMOOTHINGS:
        p = (known + smoothing) / (known.sum() + smoothing * len(known))
        losses.append(-(counts * np.log(p)).sum() / counts.sum())
    return float(min(losses))
