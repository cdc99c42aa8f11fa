"""How much of a text comes back word for word when a network is given what stands before it.

Greedy continuation gives a text back exactly if each of its tokens is the network's first choice
after the true tokens before it, so nothing has to be generated (Carlini et al., 2023, call it
discoverable extraction). The probability of drawing the text follows from the same scores.

Shapes: N passages, C = CONTINUATION tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minigpt.errors import UserError
from minigpt.evaluation.passages import Documents, Passage
from minigpt.evaluation.repetition import count_copies
from minigpt.evaluation.windows import Scorer, Window
from minigpt.tokens.sharded import Tokens

PREFIXES = (8, 16, 32)  # tokens that the network is given
CONTINUATION = 32  # tokens that have to come back
DRAWS = (1, 10, 100, 1000)
KNOWN = 50  # documents that are listed


@dataclass(frozen=True)
class Recall:
    """What a network gives back of the same continuations after prefixes of one length."""

    prefix: int
    extracted: float  # share of the passages that come back whole
    extracted_once: float | None  # the same, of passages that are not repeated; None without any
    tokens: float  # share of tokens that come back before the first wrong one
    at_least_once: list[float]  # share of passages expected in n draws at temperature 1, for DRAWS


@dataclass(frozen=True)
class KnownDocument:
    """A document of which passages come back whole."""

    name: str
    split: str
    passages: int
    extracted: float  # share of them that come back


@dataclass(frozen=True)
class Extraction:
    """Extraction from passages of one side, the training text or the held-out text."""

    passages: int
    not_repeated: int  # passages; of held-out text, those of which nothing is in the training text
    too_short: int  # documents without a passage
    recalls: list[Recall]  # for each prefix, the longest last
    come_back: list[float]  # after the longest prefix: share with at least 1, 2, ... tokens back
    documents: list[KnownDocument]  # after the longest prefix, at most KNOWN, the best known first

    @property
    def extracted(self) -> float:
        """Share of passages that come back whole after the longest prefix."""
        return self.recalls[-1].extracted

    @property
    def extracted_once(self) -> float | None:
        """The same, of passages that are not repeated in the training text."""
        return self.recalls[-1].extracted_once


@dataclass(frozen=True)
class Scored:
    """The scores of some continuations after prefixes of one length."""

    come_back: NDArray[np.int64]  # (N) tokens before the first that is not the first choice
    nats: NDArray[np.float64]  # (N) of the whole continuation


def fitting_prefixes(block_size: int, documents: Documents) -> list[int]:
    """The prefixes that a network can read with their continuations, and that documents hold."""
    return [
        prefix
        for prefix in PREFIXES
        if prefix + CONTINUATION <= block_size + 1
        and documents.count_passages(prefix + CONTINUATION)
    ]


def check_context(block_size: int) -> None:
    """Raise UserError where a network cannot read even the shortest prefix and its continuation."""
    shortest = PREFIXES[0] + CONTINUATION
    if shortest > block_size + 1:
        raise UserError(
            f"model.block_size={block_size} is too short to look for memorised text: "
            f"{PREFIXES[0]} tokens of prefix and {CONTINUATION} to come need {shortest - 1}"
        )


def score_continuations(scorer: Scorer, passages: Sequence[Passage], prefix: int) -> Scored:
    """The scores of the last C tokens of each passage after `prefix` tokens."""
    length = prefix + CONTINUATION
    windows = (Window(passage.ids[-length:], CONTINUATION) for passage in passages)
    come_back, nats = [], []
    for scores in scorer.score(windows):
        wrong = np.flatnonzero(scores.rank)
        come_back.append(int(wrong[0]) if len(wrong) else CONTINUATION)
        nats.append(float(scores.nats.sum(dtype=np.float64)))
    return Scored(np.array(come_back, np.int64), np.array(nats))


def at_least_once(nats: NDArray[np.float64], draws: int) -> NDArray[np.float64]:
    """(N) nats of texts -> (N) probability that `draws` draws hold it (Hayes et al., 2024)."""
    with np.errstate(divide="ignore"):  # a text with probability 1 comes at once
        return -np.expm1(draws * np.log1p(-np.exp(-nats)))


def copies_of(passages: Sequence[Passage], training: Tokens) -> NDArray[np.int64]:
    """(N) how often a piece of each continuation is in the training text: see count_copies."""
    ids = [passage.ids[-CONTINUATION:] for passage in passages]
    return count_copies(training, np.array(ids))


def extraction(
    documents: Documents,
    passages: Sequence[Passage],
    by_prefix: dict[int, Scored],
    is_repeated: NDArray[np.bool_],
) -> Extraction:
    """The figures of scored passages; by_prefix has the shortest prefix first."""
    longest = list(by_prefix.values())[-1]
    return Extraction(
        passages=len(passages),
        not_repeated=int((~is_repeated).sum()),
        too_short=documents.count_shorter(len(passages[0].ids)),
        recalls=[_recall(prefix, scored, is_repeated) for prefix, scored in by_prefix.items()],
        come_back=[float((longest.come_back >= k).mean()) for k in range(1, CONTINUATION + 1)],
        documents=_known_documents(passages, longest.come_back == CONTINUATION),
    )


def _known_documents(passages: Sequence[Passage], whole: NDArray[np.bool_]) -> list[KnownDocument]:
    by_document: dict[tuple[str, int], list[int]] = {}  # a document's passages
    for i, passage in enumerate(passages):
        by_document.setdefault((passage.split, passage.document.start), []).append(i)
    documents = [
        KnownDocument(
            passages[places[0]].document.name, split, len(places), float(whole[places].mean())
        )
        for (split, _), places in by_document.items()
        if whole[places].any()
    ]
    return sorted(documents, key=lambda document: -document.extracted)[:KNOWN]


def _recall(prefix: int, scored: Scored, is_repeated: NDArray[np.bool_]) -> Recall:
    whole = scored.come_back == CONTINUATION
    return Recall(
        prefix=prefix,
        extracted=float(whole.mean()),
        extracted_once=None if is_repeated.all() else float(whole[~is_repeated].mean()),
        tokens=float(scored.come_back.mean() / CONTINUATION),
        at_least_once=[float(at_least_once(scored.nats, draws).mean()) for draws in DRAWS],
    )
