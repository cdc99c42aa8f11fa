"""What an evaluation leaves: its figures as JSON, and a row for each document as Parquet."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minigpt.atomic_file import replace_file, write_file
from minigpt.evaluation.document_scores import DocumentScore, Total
from minigpt.evaluation.evaluate import Evaluation
from minigpt.runs.run_folder import RunFolder

COLUMNS = ("split", "name", "domain", "tokens", "bytes", "nats", "correct_at_1", "correct_at_5")


def figures(evaluation: Evaluation, checkpoint: Path) -> dict[str, Any]:
    """What `--json` prints: the held-out text's figures, then those of every split.

    An unknown figure, as the standard error of one document, is None.
    """
    splits = {
        split: {
            **known_figures(result.total),
            "documents_in_all": result.documents_in_all,
            "domains": {name: known_figures(figure) for name, figure in result.domains.items()},
            "contexts": [asdict(context) for context in result.contexts],
        }
        for split, result in evaluation.splits.items()
    }
    return {
        "checkpoint": checkpoint.name,
        "split": evaluation.held_out,
        **splits[evaluation.held_out],
        "block_size": evaluation.block_size,
        "stride": evaluation.stride,
        "scores_first_token": evaluation.scores_first_token,
        "splits": splits,
    }


def known_figures(of: Total) -> dict[str, Any]:
    """The figures by name; None for one that is not a finite number, which JSON does not have."""
    return {key: value if math.isfinite(value) else None for key, value in asdict(of).items()}


def write_evaluation(folder: RunFolder, evaluation: Evaluation, checkpoint: Path) -> None:
    """Replace evaluation.json and documents.parquet of a folder.

    Raises UserError where the disk refuses.
    """
    rows = [row for result in evaluation.splits.values() for row in result.documents]
    _write_documents(folder.documents, rows)
    content = json.dumps(figures(evaluation, checkpoint), indent=2, ensure_ascii=False)
    write_file(folder.evaluation, content + "\n")


def _write_documents(path: Path, rows: list[DocumentScore]) -> None:
    # Imported only now: a run that is never evaluated must not wait for it.
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({name: [getattr(row, name) for row in rows] for name in COLUMNS})
    with replace_file(path) as file:
        parquet.write_table(table, file)
