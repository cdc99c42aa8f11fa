"""Which runs may be ranked beside each other, and by which figure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from numpy import ndarray

from minigpt.command_lines import evaluate_command
from minigpt.evaluation.document_table import DocumentTable, differing_documents
from minigpt.reports.compared_runs import ComparedRun
from minigpt.reports.differences import BITS, NATS, Measure
from minigpt.statistics.ratio import influence

WHY_BYTES = (
    "Ranked by bits per byte: the runs have different tokenizers ({names}), and nats a token of "
    "one cannot be compared with those of another, since their tokens stand for more or less text."
)


@dataclass(frozen=True)
class Ranked:
    """A run with the figure that it is ranked by: lower is better."""

    run: ComparedRun
    figure: float  # of held-out text: nats a token, or bits per byte
    influence: Float[ndarray, "D"] | None  # of its documents on the figure


@dataclass(frozen=True)
class Comparable:
    """The finished runs that may be ranked, best first, and what a reader has to know of it."""

    ranked: list[Ranked]
    measure: Measure  # BITS where their tokenizers differ, else NATS
    remarks: list[str]

    @property
    def figures(self) -> dict[Path, float]:
        """Run folder -> the figure that its run is ranked by."""
        return {each.run.folder.path: each.figure for each in self.ranked}


def measure_of(runs: Sequence[ComparedRun]) -> Measure:
    """BITS if the tokenizers of the finished runs differ, else NATS."""
    tokenizers = {run.tokenizer for run in runs if run.is_finished and run.tokenizer}
    return BITS if len(tokenizers) > 1 else NATS


def comparable(runs: Sequence[ComparedRun]) -> Comparable:
    """The finished runs of the same held-out documents: the most where they differ.

    Where all of them have their documents, the figure is that of the documents, each read on its
    own. Otherwise it is that of the best validation.
    """
    finished = [run for run in runs if run.is_finished and not math.isnan(run.val_loss)]
    measure = measure_of(finished)
    remarks = []
    if measure is BITS:
        names = sorted({run.summary.tokenizer.name for run in finished if run.summary.tokenizer})
        remarks.append(WHY_BYTES.format(names=", ".join(names)))
    tables = [(run, table) for run in finished if (table := run.documents) is not None]
    if len(tables) == len(finished):
        ranked, others = _by_their_documents(tables, measure)
    else:
        ranked, others = _by_their_validations(finished, measure)
    known = [each for each in ranked if not math.isnan(each.figure)]
    if unknown := [each.run.name for each in ranked if math.isnan(each.figure)]:
        others.append(f"Not ranked: {_some(unknown)}, without bits per byte of held-out text.")
    return Comparable(sorted(known, key=lambda each: each.figure), measure, remarks + others)


def best_first(runs: Sequence[ComparedRun]) -> list[ComparedRun]:
    """The runs that may be ranked, then other finished runs, then unfinished ones."""
    first = [each.run for each in comparable(runs).ranked]
    places = {run.folder.path for run in first}
    others = [run for run in runs if run.folder.path not in places]
    return first + sorted(
        others,
        key=lambda run: (
            not run.is_finished,
            math.isnan(run.val_loss),
            run.val_loss if not math.isnan(run.val_loss) else 0.0,
        ),
    )


Documented = tuple[ComparedRun, DocumentTable]


def _by_their_validations(
    runs: Sequence[ComparedRun], measure: Measure
) -> tuple[list[Ranked], list[str]]:
    """Every run by its best validation, and which of them lack their documents if others do not."""
    figures = [run.val_bits if measure is BITS else run.val_loss for run in runs]
    ranked = [Ranked(run, figure, None) for run, figure in zip(runs, figures, strict=True)]
    lacking = [run for run in runs if run.documents is None]
    if len(lacking) == len(runs):
        return ranked, []
    return ranked, [
        f"Not paired over documents: {len(lacking)} of {len(runs)} runs have no figures of their "
        f"documents; {evaluate_command(lacking[0].folder.path)} adds them."
    ]


def _by_their_documents(
    runs: Sequence[Documented], measure: Measure
) -> tuple[list[Ranked], list[str]]:
    """The most runs of the same documents, and why each of the others is refused."""
    remarks = []
    if again := [run for run, table in runs if not _is_of_its_end(run, table)]:
        remarks.append(
            f"Not ranked: {_some([run.name for run in again])}, evaluated again in another way, "
            "perhaps with more context; as at the end of a run: "
            f"{evaluate_command(again[0].folder.path)}."
        )
    kinds: list[list[Documented]] = []
    for run in (each for each in runs if _is_of_its_end(*each)):
        kind = next((kind for kind in kinds if _difference(kind[0], run) is None), None)
        if kind is None:
            kinds.append([run])
        else:
            kind.append(run)
    most = max(kinds, key=len, default=[])
    remarks += [
        f"Not ranked: {_some([run.name for run, _ in kind])}, whose held-out documents are not "
        f"those of {most[0][0].name}: {_difference(most[0], kind[0])}."
        for kind in kinds
        if kind is not most
    ]
    return [_ranked_by_documents(run, table, measure) for run, table in most], remarks


def _is_of_its_end(run: ComparedRun, table: DocumentTable) -> bool:
    """False if another evaluation, perhaps with more context, came after that of the run's end."""
    total = run.summary.evaluation.get("val")
    if total is None or total.loss is None:
        return True
    loss = float(table.nats.sum() / max(1, table.tokens.sum()))
    return math.isclose(loss, total.loss, rel_tol=1e-4)


def _difference(first: Documented, second: Documented) -> str | None:
    same_tokenizer = first[0].tokenizer == second[0].tokenizer
    return differing_documents(first[1], second[1], same_tokenizer=same_tokenizer)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


def _ranked_by_documents(run: ComparedRun, table: DocumentTable, measure: Measure) -> Ranked:
    bits = table.nats / math.log(2)
    nats, size = (bits, table.bytes) if measure is BITS else (table.nats, table.tokens)
    total = size.sum()
    if not total:
        return Ranked(run, math.nan, None)
    return Ranked(run, float(nats.sum() / total), influence(nats, size))
