"""A token store -> the beginnings of some documents of a split."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minigpt.evaluation.trained_model import document_ids
from minigpt.tokens.store import TokenStore
from minigpt.tokens.tokenizer import Tokenizer

SHORTEST = 3  # tokens of a document, its end included, of which something can be said


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The beginning of a document."""

    name: str
    domain: str
    split: str
    ids: NDArray[np.integer[Any]]
    document_tokens: int  # of the whole document, without the id that ends it


@dataclass(frozen=True, slots=True)
class SplitExcerpts:
    """The beginnings of some documents of a split."""

    split: str
    excerpts: list[Excerpt]
    documents: int  # that the split holds
    too_short: int  # of them, and so left out


def split_excerpts(
    store: TokenStore, tokenizer: Tokenizer, split: str, documents: int, tokens: int
) -> SplitExcerpts:
    """The first `tokens` tokens of at most `documents` documents, evenly spread over a split."""
    stored = [*store.documents(split)]
    usable = [document for document in stored if document.tokens >= SHORTEST]
    count = min(len(usable), documents)
    chosen = [usable[i * len(usable) // count] for i in range(count)]
    of_split = store.tokens(split)
    excerpts = []
    for document in chosen:
        ids = document_ids(of_split, document, tokenizer)
        excerpts.append(Excerpt(document.name, document.domain, split, ids[:tokens], len(ids)))
    return SplitExcerpts(split, excerpts, len(stored), len(stored) - len(usable))


def longest_cut(lengths: Sequence[int], budget: int) -> int:
    """The most tokens to keep of each document, so that all of them together fit a budget."""
    left = budget
    for i, length in enumerate(sorted(lengths)):
        longer = len(lengths) - i
        if length * longer > left:
            return max(1, left // longer)
        left -= length
    return max(lengths)
