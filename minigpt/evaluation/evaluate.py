"""A network and a text -> nats, bytes and hits of each document, and what they add up to."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import tee

import torch

from minigpt.errors import UserError
from minigpt.evaluation.context_losses import ContextLoss, ContextMeter
from minigpt.evaluation.document_scores import (
    DocumentScore,
    Total,
    document_score,
    total,
    totals_by_domain,
)
from minigpt.evaluation.trained_model import TrainedModel, documents_of
from minigpt.evaluation.windows import Scorer, score_documents
from minigpt.tokens.document_list import StoredDocument
from minigpt.tokens.sharded import Ids
from minigpt.tokens.store import TokenStore

HELD_OUT = ("val", "test")

Document = tuple[StoredDocument, Ids]


@dataclass(frozen=True)
class SplitEvaluation:
    """The figures of one split."""

    documents: list[DocumentScore]
    contexts: list[ContextLoss]
    documents_in_all: int  # of the split; more than were read where it was limited

    @property
    def total(self) -> Total:
        return total(self.documents)

    @property
    def domains(self) -> dict[str, Total]:
        return totals_by_domain(self.documents)


@dataclass(frozen=True)
class Evaluation:
    """The figures of a text, split by split; a split without a scored token is not among them."""

    splits: dict[str, SplitEvaluation]
    block_size: int
    stride: int
    scores_first_token: bool  # False: the model knows no separator that could stand before it

    @property
    def held_out(self) -> str:
        """The split that stands for the text: test, or the best one there is."""
        return next(split for split in ("test", "val", "train") if split in self.splits)


def evaluate(
    model: TrainedModel,
    store: TokenStore,
    splits: Sequence[str] = HELD_OUT,
    *,
    stride: int | None = None,
    precision: torch.dtype = torch.float32,
    limits: Mapping[str, int] | None = None,
) -> Evaluation:
    """Score every document of some splits, each on its own, on the device of the model.

    stride: tokens that a window scores after a document's first; None: block_size, so that windows
    do not overlap. limits: tokens to read of a split at most; the last document is cut to fit.
    Raises UserError for a stride out of range, and for a text that has nothing to score, or ids
    that the model does not know.
    """
    block_size = model.net.config.block_size
    stride = block_size if stride is None else stride
    if not 1 <= stride <= block_size:
        raise UserError(
            f"stride must lie between 1 and {block_size}, the model's block_size, got {stride}"
        )
    scorer = Scorer(model.net, precision)
    evaluated = {}
    for split in splits:
        documents: Iterable[Document] = documents_of(store, split, model.tokenizer)
        if limits is not None and split in limits:
            documents = _first_tokens(documents, limits[split])
        with _without_tf32():
            result = _evaluate_split(scorer, model, store, split, documents, stride)
        if any(document.tokens for document in result.documents):
            evaluated[split] = result
    if not evaluated:
        raise UserError(
            f"{store.folder}: {' and '.join(splits)} have no token to score; its splits have "
            + ", ".join(f"{split} {count:,}" for split, count in store.manifest.documents.items())
            + " documents; choose with --split"
        )
    return Evaluation(evaluated, block_size, stride, model.separator is not None)


def _evaluate_split(
    scorer: Scorer,
    model: TrainedModel,
    store: TokenStore,
    split: str,
    documents: Iterable[Document],
    stride: int,
) -> SplitEvaluation:
    bytes_per_id = model.tokenizer.bytes_per_id()
    to_score, to_count = tee(documents)
    vocab_size = model.net.config.vocab_size
    ids = (_checked(document, ids, vocab_size) for document, ids in to_score)
    meter = ContextMeter(model.net.config.block_size)
    results = []
    all_scores = score_documents(scorer, ids, model.separator, stride)
    for (document, ids_of_it), scores in zip(to_count, all_scores, strict=True):
        meter.add(scores)
        results.append(
            document_score(split, document.name, document.domain, ids_of_it, scores, bytes_per_id)
        )
    return SplitEvaluation(results, meter.losses(), store.manifest.documents[split])


@contextmanager
def _without_tf32() -> Iterator[None]:
    """Multiply float32 in full; a training may have set a GPU to fewer digits."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _checked(document: StoredDocument, ids: Ids, vocab_size: int) -> Ids:
    largest = int(ids.max(initial=0))
    if largest >= vocab_size:
        raise UserError(
            f"{document.name} has the token id {largest}, the model knows {vocab_size} ids; leave "
            "that text out, or evaluate a model with a larger model.vocab_size"
        )
    return ids


def _first_tokens(documents: Iterable[Document], limit: int) -> Iterator[Document]:
    """Documents from the first on, until they hold `limit` tokens; the last is cut to fit."""
    for document, ids in documents:
        if limit <= 0:
            return
        yield document, ids[:limit]
        limit -= len(ids)
