"""What a network made of each document, and the figures of several documents together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minigpt.evaluation.windows import WindowScores
from minigpt.model.loss import perplexity
from minigpt.statistics.ratio import ratio_of_sums


@dataclass(frozen=True, slots=True)
class DocumentScore:
    """A document's figures; the separators around it are not among them."""

    split: str
    name: str
    domain: str
    tokens: int  # that were scored
    bytes: int  # of UTF-8 that these tokens stand for
    nats: float  # -log p of these tokens, summed
    correct_at_1: int  # of them the network's first choice
    correct_at_5: int  # among its first five


@dataclass(frozen=True)
class Total:
    """The figures of some documents; NaN where there is no token, or none that is text.

    A standard error takes the documents for a sample and says nothing of how far another training
    would come; it is NaN for a single document.
    """

    documents: int  # with a token scored
    tokens: int
    bytes: int
    loss: float  # nats a token
    loss_stderr: float
    perplexity: float
    bits_per_byte: float  # nats / (ln 2 * bytes)
    bits_per_byte_stderr: float
    accuracy_at_1: float  # share of the tokens
    accuracy_at_5: float


def document_score(
    split: str,
    name: str,
    domain: str,
    ids: NDArray[np.integer[Any]],
    scores: WindowScores,
    bytes_per_id: NDArray[np.int64],
) -> DocumentScore:
    """The figures of one document, whose last tokens were scored."""
    scored = ids[len(ids) - len(scores.nats) :]
    return DocumentScore(
        split=split,
        name=name,
        domain=domain,
        tokens=len(scored),
        bytes=int(bytes_per_id[scored].sum()),
        nats=float(scores.nats.sum(dtype=np.float64)),
        correct_at_1=int((scores.rank < 1).sum()),
        correct_at_5=int((scores.rank < 5).sum()),
    )


def total(documents: Sequence[DocumentScore]) -> Total:
    """The figures of all tokens of some documents."""
    scored = [document for document in documents if document.tokens]
    nats = [document.nats for document in scored]
    tokens = [document.tokens for document in scored]
    loss = ratio_of_sums(nats, tokens)
    bits = ratio_of_sums([n / math.log(2) for n in nats], [document.bytes for document in scored])
    return Total(
        documents=len(scored),
        tokens=sum(tokens),
        bytes=sum(document.bytes for document in scored),
        loss=loss.value,
        loss_stderr=loss.stderr,
        perplexity=perplexity(loss.value),
        bits_per_byte=bits.value,
        bits_per_byte_stderr=bits.stderr,
        accuracy_at_1=ratio_of_sums([d.correct_at_1 for d in scored], tokens).value,
        accuracy_at_5=ratio_of_sums([d.correct_at_5 for d in scored], tokens).value,
    )


def totals_by_domain(documents: Sequence[DocumentScore]) -> dict[str, Total]:
    """The figures of each domain, the one with the most tokens first."""
    groups: dict[str, list[DocumentScore]] = {}
    for document in documents:
        groups.setdefault(document.domain, []).append(document)
    totals = {domain: total(group) for domain, group in groups.items()}
    return dict(sorted(totals.items(), key=lambda item: -item[1].tokens))
