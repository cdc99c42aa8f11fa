"""One or two trained networks and a text -> what each makes of every token of some documents.

Shapes: L blocks, H heads, T tokens.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minigpt.errors import UserError
from minigpt.evaluation.attention_maps import kept_attention
from minigpt.evaluation.excerpts import Excerpt, SplitExcerpts, longest_cut, split_excerpts
from minigpt.evaluation.shared_text import check_text
from minigpt.evaluation.token_alternatives import TokenAlternatives, token_alternatives
from minigpt.evaluation.trained_model import TrainedModel
from minigpt.tokens.store import TokenStore

Ids = NDArray[np.integer[Any]]

ALTERNATIVES = 5
MOST_TOKENS = 512  # of a document
TOKEN_BUDGET = 120_000  # that are scored in all: half a minute on two cores, 3 MB of a page
MOST_DOCUMENTS = 5000  # so that something of each is shown within the budget
TRAINING_SHARE = 10  # a tenth as many training documents, to compare held-out ones with


@dataclass(frozen=True)
class Reading:
    """What one network makes of each excerpt."""

    model: TrainedModel
    rows: list[TokenAlternatives]
    attention: dict[int, NDArray[np.float32]]  # (L, H, T, T) of some excerpts, by their number


@dataclass(frozen=True)
class Exploration:
    """The beginnings of some documents, and what one or two networks make of them."""

    splits: list[SplitExcerpts]  # the one that was asked for, then some of the training split
    cut: int  # tokens of a document, at most
    separator: int | None  # read before each document; None: its first token is not scored
    readings: list[Reading]

    @property
    def excerpts(self) -> list[Excerpt]:
        return [excerpt for split in self.splits for excerpt in split.excerpts]

    def shortened(self, cut: int) -> "Exploration":
        """The same with fewer tokens of each document; at least two."""
        scored = cut if self.separator is not None else cut - 1
        readings = [replace(r, rows=[rows[:scored] for rows in r.rows]) for r in self.readings]
        return Exploration(_cut(self.splits, cut), cut, self.separator, readings)


def explore(
    models: Sequence[TrainedModel], store: TokenStore, split: str = "val", documents: int = 1000
) -> Exploration:
    """Score the beginnings of a split's documents, and of some training documents beside them.

    Each token has half a block of context, or all that stands before it.
    Raises UserError where the text does not fit the networks, the split has nothing to show, or a
    loss is not finite.
    """
    check_text(models, store)
    splits = _chosen(store, models[0], split, documents)
    lengths = [len(excerpt.ids) for part in splits for excerpt in part.excerpts]
    cut = longest_cut(lengths, TOKEN_BUDGET // len(models))
    splits = _cut(splits, cut)
    texts = [excerpt.ids for part in splits for excerpt in part.excerpts]
    separators = {model.separator for model in models}
    separator = separators.pop() if len(separators) == 1 else None
    rows = [_scored(model, texts, separator) for model in models]
    before = [] if separator is None else [separator]
    attention = kept_attention(
        [model.net for model in models],
        [np.array([*before, *text]) for text in texts],
        _notable(rows),
    )
    readings = [Reading(*parts) for parts in zip(models, rows, attention, strict=True)]
    return Exploration(splits, cut, separator, readings)


def _chosen(
    store: TokenStore, model: TrainedModel, split: str, documents: int
) -> list[SplitExcerpts]:
    if not 1 <= documents <= MOST_DOCUMENTS:
        raise UserError(
            f"--documents must lie between 1 and {MOST_DOCUMENTS:,}, got {documents:,}; a page of "
            "more would be too large to open"
        )
    counts = {split: documents}
    if split != "train":
        counts["train"] = math.ceil(documents / TRAINING_SHARE)
    chosen = [
        split_excerpts(store, model.tokenizer, name, count, MOST_TOKENS)
        for name, count in counts.items()
    ]
    if not chosen[0].excerpts:
        raise UserError(
            f"{store.folder}: its split {split} has no document long enough to show, of "
            f"{chosen[0].documents:,}; choose another with --split"
        )
    return chosen


def _cut(splits: list[SplitExcerpts], cut: int) -> list[SplitExcerpts]:
    return [
        replace(part, excerpts=[replace(e, ids=e.ids[:cut]) for e in part.excerpts])
        for part in splits
    ]


def _scored(
    model: TrainedModel, texts: list[Ids], separator: int | None
) -> list[TokenAlternatives]:
    stride = math.ceil(model.net.config.block_size / 2)
    rows = [*token_alternatives(model.net, texts, separator, stride, ALTERNATIVES)]
    if not all(np.isfinite(part.nats).all() for part in rows):
        raise UserError(
            f"{model.checkpoint}: the loss of a token is not a finite number; the run diverged"
        )
    return rows


def _notable(rows: list[list[TokenAlternatives]]) -> list[int]:
    """Numbers of the excerpts: in turns the next worst, and the next best or most improved."""
    means = [np.array([part.nats.mean() for part in of_model]) for of_model in rows]
    worst = np.argsort(-means[-1], kind="stable").tolist()
    best = np.argsort(means[-1] - (means[0] if len(means) > 1 else 0), kind="stable").tolist()
    return list(dict.fromkeys(chain.from_iterable(zip(worst, best, strict=True))))
