"""How often each token occurs in some splits, and the loss of a model that knows only that.

Shapes: V vocabulary.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from minigpt.statistics.unigram import unigram_nats
from minigpt.tokens.store import TokenStore

CHUNK = 1 << 24  # tokens that are counted at a time


def count_tokens(store: TokenStore, splits: Sequence[str], vocab_size: int) -> NDArray[np.int64]:
    """(V) how often each id occurs."""
    counts = np.zeros(vocab_size, np.int64)
    for split in splits:
        tokens = store.tokens(split)
        for start in range(0, len(tokens), CHUNK):
            counts += np.bincount(tokens[start : start + CHUNK], minlength=vocab_size)
    return counts


def unigram_loss(store: TokenStore, held_out: Sequence[str], vocab_size: int) -> float:
    """Nats a token that the training text's frequencies need for held-out text."""
    known = count_tokens(store, ["train"], vocab_size)
    return unigram_nats(known, count_tokens(store, held_out, vocab_size))
