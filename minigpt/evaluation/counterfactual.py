"""Which documents are known only by the models that were trained on them.

Zhang et al., 2023, "Counterfactual Memorization in Neural Language Models" (arXiv:2112.12938).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from minigpt.atomic_file import write_file
from minigpt.errors import UserError
from minigpt.evaluation.trained_model import (
    TrainedModel,
    data_of_run,
    documents_of,
    load_model,
    training_store,
)
from minigpt.evaluation.windows import Scorer, score_documents
from minigpt.runs.run_folder import RunFolder
from minigpt.statistics.with_and_without import Contrast, contrast
from minigpt.tokens.document_list import StoredDocument
from minigpt.tokens.prepare import prepare
from minigpt.tokens.store import TokenStore
from minigpt.tokens.subset import ALL
from minigpt.tokens.tokenizer import Tokenizer

FILE = "counterfactual.json"  # in the folder of the sweep
TOP = 100  # documents that are listed
BEGINNING = 80  # characters of a document that are shown


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class CounterfactualDocument(_Record):
    """A document; accuracies are the share of its tokens that are the likeliest by a model."""

    name: str
    domain: str
    tokens: int
    beginning: str
    models_with: int  # trained on it
    models_without: int
    accuracy_with: float  # mean of the models that were trained on it
    accuracy_without: float
    memorization: float  # their difference
    stderr: float | None  # of the difference; None unless both sides have two models


class Counterfactual(_Record):
    """The content of counterfactual.json."""

    models: int
    documents: int  # that some models were trained on and others not
    left_out: int  # documents that all models were trained on, or none, or that are one token
    mean: float  # memorization of a document
    # Documents whose memorization is above two standard errors, and below minus two: as many as
    # those below are above by chance.
    beyond_chance: int | None
    below_chance: int | None
    top: list[CounterfactualDocument]  # highest memorization first


def subset_runs(runs: Sequence[RunFolder]) -> list[RunFolder]:
    """The runs that were trained on a part of their documents (`data.subset`)."""
    data = {run.path: run.read_config()["data"] for run in runs}
    return [run for run in runs if data[run.path].get("subset", ALL)["fraction"] < 1]


def counterfactual(
    runs: Sequence[RunFolder],
    top: int = TOP,
    progress: Callable[[int], None] = lambda number: None,
) -> Counterfactual:
    """The counterfactual memorization of every training document of some runs.

    runs: of one text and different subsets of its documents, scored with their last weights.
    progress: called with the number of a run, from 1, before it is scored.
    Raises UserError where the runs have different texts, or no document tells them apart.
    """
    store, tokenizer = _whole_store(runs)
    accuracies, treated = [], []
    for number, run in enumerate(runs, 1):
        progress(number)
        model = load_model(run.path, "last")
        trained_on = {(d.domain, d.name) for d in training_store(run, model).documents("train")}
        accuracies.append(_accuracies(model, store))
        treated.append([(d.domain, d.name) in trained_on for d in store.documents("train")])
    result = contrast(np.array(accuracies), np.array(treated))
    comparable = np.flatnonzero(np.isfinite(result.difference))
    if not len(comparable):
        raise UserError(
            f"no document tells these {len(runs)} runs apart: each was trained on by all or by "
            "none; add runs with another data.subset.seed, or with data.subset.complement=true"
        )
    certain = np.isfinite(result.stderr[comparable]).all()
    difference, error = result.difference[comparable], result.stderr[comparable]
    order = comparable[np.argsort(-difference, kind="stable")][:top]
    return Counterfactual(
        models=len(runs),
        documents=len(comparable),
        left_out=len(result.difference) - len(comparable),
        mean=float(difference.mean()),
        beyond_chance=int((difference > 2 * error).sum()) if certain else None,
        below_chance=int((difference < -2 * error).sum()) if certain else None,
        top=_known_documents(store, tokenizer, result, order.tolist()),
    )


def _whole_store(runs: Sequence[RunFolder]) -> tuple[TokenStore, Tokenizer]:
    """The store of the text that the runs have in common, without a subset, and its tokenizer."""
    stores = []
    for run in runs:
        stores.append(prepare(replace(data_of_run(run), subset=ALL), uploads=False).store)
        if stores[-1].manifest.fingerprint != stores[0].manifest.fingerprint:
            raise UserError(
                f"{run.path} was trained on another text than {runs[0].path}; name runs that "
                "differ in data.subset only"
            )
    return stores[0], load_model(runs[0].path, "last").tokenizer


def _accuracies(model: TrainedModel, store: TokenStore) -> NDArray[np.float64]:
    """(D) the share of each document's tokens that the model takes for the likeliest.

    NaN for a document of which no token can be scored.
    """
    texts = (ids for _, ids in documents_of(store, "train", model.tokenizer))
    scores = score_documents(Scorer(model.net), texts, model.separator)
    return np.array([(s.rank == 0).mean() if len(s.rank) else np.nan for s in scores])


def _known_documents(
    store: TokenStore, tokenizer: Tokenizer, result: Contrast, order: list[int]
) -> list[CounterfactualDocument]:
    listed: dict[int, tuple[StoredDocument, str]] = {}
    shown = set(order)
    for number, (document, ids) in enumerate(documents_of(store, "train", tokenizer)):
        if number in shown:
            # A token is a byte at least, a character four at most.
            beginning = tokenizer.decode(ids[: 4 * BEGINNING].tolist())[:BEGINNING]
            listed[number] = document, beginning
    return [
        CounterfactualDocument(
            name=listed[number][0].name,
            domain=listed[number][0].domain,
            tokens=listed[number][0].tokens,
            beginning=listed[number][1],
            models_with=int(result.with_count[number]),
            models_without=int(result.without_count[number]),
            accuracy_with=float(result.with_it[number]),
            accuracy_without=float(result.without_it[number]),
            memorization=float(result.difference[number]),
            stderr=_finite(result.stderr[number]),
        )
        for number in order
    ]


def _finite(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def write_counterfactual(result: Counterfactual, sweep: Path) -> None:
    """Write counterfactual.json into the folder of a sweep."""
    write_file(sweep / FILE, result.model_dump_json(indent=2) + "\n")


def read_counterfactual(sweep: Path) -> Counterfactual | None:
    """What `write_counterfactual` left in a folder; None where there is none.

    Raises UserError where the file is damaged.
    """
    path = sweep / FILE
    if not path.is_file():
        return None
    try:
        return Counterfactual.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            f"{path} is damaged ({first['msg']}); make it again with: minigpt counterfactual "
            f"{sweep}"
        ) from None
