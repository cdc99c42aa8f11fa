"""Documents -> what a network makes of each token, and what it would rather have said.

Shapes: N scored tokens, K alternatives.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minigpt.evaluation.windows import Window, batches, document_windows, scored_rows
from minigpt.model.alternatives import score_alternatives
from minigpt.model.gpt import GPT
from minigpt.model.scores import Head


@dataclass(frozen=True, slots=True)
class TokenAlternatives:
    """One row for each scored token of a document."""

    nats: NDArray[np.float32]  # (N)
    rank: NDArray[np.int32]  # (N) tokens that are more likely; 0: it is the network's prediction
    ids: NDArray[np.int32]  # (N, K) the likeliest tokens, best first
    probabilities: NDArray[np.float32]  # (N, K)

    def __getitem__(self, part: slice) -> "TokenAlternatives":
        """The rows of some consecutive tokens."""
        return TokenAlternatives(
            self.nats[part], self.rank[part], self.ids[part], self.probabilities[part]
        )


def token_alternatives(
    net: GPT,
    documents: Iterable[NDArray[np.integer[Any]]],
    separator: int | None,
    stride: int,
    count: int,
) -> Iterator[TokenAlternatives]:
    """Each document's tokens with their `count` likeliest alternatives; the net in eval mode.

    Without a separator a document's first token has no row, so it needs two tokens. stride: see
    `document_windows`.
    """
    cut = [[*document_windows(d, separator, net.config.block_size, stride)] for d in documents]
    parts = _score(net, chain.from_iterable(cut), count)
    for windows in cut:
        of_document = [*islice(parts, len(windows))]
        yield TokenAlternatives(
            np.concatenate([part.nats for part in of_document]),
            np.concatenate([part.rank for part in of_document]),
            np.concatenate([part.ids for part in of_document]),
            np.concatenate([part.probabilities for part in of_document]),
        )


def _score(net: GPT, windows: Iterable[Window], count: int) -> Iterator[TokenAlternatives]:
    """The rows of each window, several windows at a time."""
    head = Head(net.head.weight, net.head.bias, net.config.logit_softcap)
    for batch in batches(windows):
        scores = score_alternatives(head, *scored_rows(net, batch), count)
        rows = TokenAlternatives(
            scores.nats.cpu().numpy(),
            scores.rank.cpu().numpy().astype(np.int32),
            scores.ids.cpu().numpy().astype(np.int32),
            scores.probabilities.cpu().numpy(),
        )
        start = 0
        for window in batch:
            yield rows[start : start + window.scored]
            start += window.scored
