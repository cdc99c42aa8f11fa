"""The longest spans of a text that a network gives back word for word, and where they stand."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minigpt.evaluation.extraction import CONTINUATION, Scored
from minigpt.evaluation.passages import Documents, Passage
from minigpt.evaluation.windows import Scorer, Window
from minigpt.tokens.tokenizer import Tokenizer

EXTENDED = 50  # passages that are followed beyond their continuation
SHOWN = 20  # spans that are kept


@dataclass(frozen=True)
class RecalledSpan:
    """Text that greedy continuation gives back, after the tokens that stand before it."""

    document: str
    split: str
    position: int  # of the span's first token in the document
    tokens: int
    prefix: str
    text: str
    copies: int  # of a piece of it in the training text: see count_copies
    probability: float  # of drawing the CONTINUATION tokens that begin with it, at temperature 1


def longest_spans(
    scorer: Scorer,
    documents: Documents,
    passages: Sequence[Passage],
    scored: Scored,
    copies: NDArray[np.int64],
    tokenizer: Tokenizer,
) -> list[RecalledSpan]:
    """At most SHOWN spans, the longest first.

    Of each document its passages that come back whole, text that is not repeated first, and where
    there is none the longest part of one.
    """
    prefix = len(passages[0].ids) - CONTINUATION
    whole = np.flatnonzero(scored.come_back == CONTINUATION)
    followed: list[tuple[int, int]] = []  # (tokens, number of the passage)
    places: dict[tuple[str, int], list[range]] = {}  # document -> its spans
    for i in sorted(whole.tolist(), key=lambda i: (copies[i] > 1, i)):
        passage = passages[i]
        spans = places.setdefault(_document(passage), [])
        if len(followed) < EXTENDED and not any(passage.position in span for span in spans):
            tokens = _follow(scorer, documents, passage) - prefix
            spans.append(range(passage.position, passage.position + prefix + tokens))
            followed.append((tokens, i))
    parts: dict[tuple[str, int], tuple[int, int]] = {}
    for i, tokens in enumerate(scored.come_back.tolist()):
        document = _document(passages[i])
        if document not in places and tokens > parts.get(document, (0, 0))[0]:
            parts[document] = tokens, i
    followed += parts.values()
    followed.sort(key=lambda tokens_and_number: (-tokens_and_number[0], tokens_and_number[1]))
    return [
        _span(documents, passages[i], prefix, tokens, int(copies[i]), scored.nats[i], tokenizer)
        for tokens, i in followed[:SHOWN]
    ]


def _document(passage: Passage) -> tuple[str, int]:
    return passage.split, passage.document.start


def _follow(scorer: Scorer, documents: Documents, passage: Passage) -> int:
    """Tokens from the passage's start on that come back, its prefix included.

    Once the context is full, the network goes on from the last half of it.
    """
    block_size = scorer.net.config.block_size
    known, end = len(passage.ids), passage.end - passage.position
    tokens, start = documents.store.tokens(passage.split), passage.document.start + passage.position
    while known < end:
        context = known if known <= block_size else max(1, block_size // 2)
        step = min(block_size + 1 - context, end - known)
        window = Window(tokens[start + known - context : start + known + step], step)
        (scores,) = scorer.score([window])
        wrong = np.flatnonzero(scores.rank)
        if len(wrong):
            return known + int(wrong[0])
        known += step
    return known


def _span(
    documents: Documents,
    passage: Passage,
    prefix: int,
    tokens: int,
    copies: int,
    nats: float,
    tokenizer: Tokenizer,
) -> RecalledSpan:
    start = passage.document.start + passage.position + prefix
    ids = documents.store.tokens(passage.split)[start : start + tokens]
    return RecalledSpan(
        document=passage.document.name,
        split=passage.split,
        position=passage.position + prefix,
        tokens=tokens,
        prefix=tokenizer.decode(passage.ids[:prefix].tolist()),
        text=tokenizer.decode(ids.tolist()),
        copies=copies,
        probability=float(np.exp(-nats)),
    )
