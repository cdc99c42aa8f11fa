"""Tokens -> the windows that a network reads them in, and what it makes of each token.

Shapes: B windows, T tokens, C channels (n_embd), N scored tokens.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice, tee
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from minigpt.errors import UserError
from minigpt.model.gpt import GPT
from minigpt.model.scores import Head, score_targets

BATCH_TOKENS = 8192  # read at a time
LOOK_AHEAD = 1024  # windows that are sorted by length


@dataclass(frozen=True, slots=True)
class Window:
    """Tokens that are read together, of which the last `scored` are scored.

    ids holds at most block_size + 1 tokens: the network reads all but the last.
    """

    ids: NDArray[np.integer[Any]]
    scored: int


@dataclass(frozen=True, slots=True)
class WindowScores:
    """What the network makes of the scored tokens of a window, one entry each."""

    nats: NDArray[np.float32]
    rank: NDArray[np.int32]  # tokens that it takes for more likely; 0: this one is its prediction
    context: NDArray[np.int32]  # tokens of the window before this one


def document_windows(
    ids: NDArray[np.integer[Any]], separator: int | None, block_size: int, stride: int
) -> Iterator[Window]:
    """The windows of a document, in which each of its tokens is scored once.

    separator: the id that stands before the document, so that its first token is scored as well;
    without one it is not. The first window scores up to block_size tokens and each later one
    `stride`, at most block_size, with block_size - stride tokens or more of context before them.
    The last window begins as early as it can, so its tokens have more context.
    """
    # In the text's own type: a plain list would make 8 bytes of each id.
    sequence = ids if separator is None else np.concatenate([np.array([separator], ids.dtype), ids])
    end = min(len(sequence), block_size + 1)
    scored_until = 1
    while end > scored_until:
        yield Window(sequence[max(0, end - block_size - 1) : end], end - scored_until)
        scored_until = end
        end = min(len(sequence), end + stride)


class Scorer:
    """Scores windows with a network, several at a time; the network must be in eval mode.

    precision: of the matrix products; everything else is float32.
    """

    def __init__(self, net: GPT, precision: torch.dtype = torch.float32) -> None:
        assert not net.training
        self.net = net
        self.precision = precision
        self.head = Head(net.head.weight.to(precision), net.head.bias, net.config.logit_softcap)

    def score(self, windows: Iterable[Window]) -> Iterator[WindowScores]:
        """The scores of each window, in order.

        A number of windows ahead is sorted by length, so that little of a batch is padding.
        """
        windows = iter(windows)
        while ahead := [*islice(windows, LOOK_AHEAD)]:
            order = sorted(range(len(ahead)), key=lambda i: len(ahead[i].ids))
            in_order = batches(ahead[i] for i in order)
            scores = chain.from_iterable(map(self._score_batch, in_order))
            by_place = dict(zip(order, scores, strict=True))
            yield from (by_place[i] for i in range(len(ahead)))

    def _score_batch(self, windows: list[Window]) -> list[WindowScores]:
        nats, rank = score_targets(self.head, *scored_rows(self.net, windows, self.precision))
        if nats.isnan().any():  # a rank would count the token as the likeliest
            raise UserError(
                "the network's loss is not a number: its weights are damaged, or training diverged"
            )
        ends = np.cumsum([window.scored for window in windows])[:-1]
        starts = [len(window.ids) - 1 - window.scored for window in windows]
        return [
            WindowScores(nats, rank, np.arange(start + 1, start + 1 + len(nats), dtype=np.int32))
            for start, nats, rank in zip(
                starts,
                np.split(nats.cpu().numpy(), ends),
                np.split(rank.cpu().numpy().astype(np.int32), ends),
                strict=True,
            )
        ]


@torch.inference_mode()
def scored_rows(
    net: GPT, windows: list[Window], precision: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    """The hidden state (N, C) before each scored token of some windows, and the tokens (N)."""
    device = net.head.weight.device
    T = max(len(window.ids) for window in windows) - 1
    inputs = np.zeros((len(windows), T), np.int64)
    for row, window in zip(inputs, windows, strict=True):
        row[: len(window.ids) - 1] = window.ids[:-1]
    with torch.autocast(device.type, precision, enabled=precision != torch.float32):
        hidden = net.hidden(torch.from_numpy(inputs).to(device))  # (B, T, C)
    # The network is causal, so the padding on the right changes nothing, and only rows that
    # are scored go through the head, which is most of the work.
    rows = [
        i * T + np.arange(len(window.ids) - 1 - window.scored, len(window.ids) - 1)
        for i, window in enumerate(windows)
    ]
    row_numbers = torch.from_numpy(np.concatenate(rows)).to(device)  # (N)
    targets = np.concatenate([window.ids[-window.scored :] for window in windows])
    return hidden.flatten(0, 1)[row_numbers], torch.from_numpy(targets.astype(np.int64)).to(device)


def score_documents(
    scorer: Scorer,
    documents: Iterable[NDArray[np.integer[Any]]],
    separator: int | None,
    stride: int | None = None,
) -> Iterator[WindowScores]:
    """The scores of each document's tokens; without a separator, of all but its first.

    stride: see `document_windows`; None: block_size, so that windows do not overlap.
    """
    block_size = scorer.net.config.block_size
    windows = (
        [*document_windows(ids, separator, block_size, stride or block_size)] for ids in documents
    )
    to_score, to_count = tee(windows)
    scores = scorer.score(chain.from_iterable(to_score))
    for of_document in to_count:
        yield _joined([*islice(scores, len(of_document))])


def _joined(parts: list[WindowScores]) -> WindowScores:
    if not parts:
        empty = np.empty(0, np.int32)
        return WindowScores(empty.astype(np.float32), empty, empty)
    fields = ("nats", "rank", "context")
    return WindowScores(*(np.concatenate([getattr(p, f) for p in parts]) for f in fields))


def batches(windows: Iterable[Window]) -> Iterator[list[Window]]:
    """Windows that are read at a time: as many as hold BATCH_TOKENS."""
    batch: list[Window] = []
    longest = 0
    for window in windows:
        longest = max(longest, len(window.ids) - 1)
        if batch and longest * (len(batch) + 1) > BATCH_TOKENS:
            yield batch
            batch, longest = [], len(window.ids) - 1
        batch.append(window)
    if batch:
        yield batch
