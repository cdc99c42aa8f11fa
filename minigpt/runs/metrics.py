"""metrics.csv: appended as a run goes, never rewritten, and read back as one row a step."""

import csv
import io
import json
import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from minigpt.atomic_file import explain_disk_errors
from minigpt.json_text import parse_json
from minigpt.ordinary_file import check_ordinary

COLUMNS = (
    "step", "epoch", "train/loss", "train/perplexity", "lr", "grad_norm", "tokens_per_second",
    "val/loss", "val/perplexity", "train/loss_epoch", "train/perplexity_epoch",
    "test/loss", "test/perplexity",
)  # fmt: skip
OTHER = "other"  # metrics without a column of their own, as a JSON object
MOST_BYTES = 1 << 31  # ten million rows


class MetricsWriter:
    """Appends rows to metrics.csv; each row is on its way to the disk when `append` returns.

    resume_step: the first step that a resumed run logs. What an earlier start logged after that
    step is cut off, and so is its test at that step: a complete run that is resumed tests again.
    """

    def __init__(self, path: Path, resume_step: int | None = None) -> None:
        self.path = path
        with explain_disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if resume_step is not None and path.exists():
                _cut_after(path, resume_step)
            self._file = path.open("a", newline="", encoding="utf-8")
            if self._file.tell() == 0:
                self._file.write(_line([*COLUMNS, OTHER]))

    def append(self, step: int, metrics: Mapping[str, float]) -> None:
        """Add a row; a step may have several, which readers join."""
        row: dict[str, object] = {"step": step, **metrics}
        other = {name: row.pop(name) for name in list(row) if name not in COLUMNS}
        cells = [row.get(name, "") for name in COLUMNS]
        with explain_disk_errors(self.path):
            self._file.write(_line([*cells, json.dumps(other) if other else ""]))
            self._file.flush()

    def close(self) -> None:
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, float]]:
    """One row a step, in order, of the metrics that were logged there; [] without a file.

    A line that a kill cut short is left out, and so is all after one that no CSV has.
    """
    if not path.exists():
        return []
    check_ordinary(path, MOST_BYTES)
    rows: dict[int, dict[str, float]] = {}
    with path.open(newline="", encoding="utf-8", errors="replace") as file, suppress(csv.Error):
        for cells in csv.DictReader(file):
            parsed = _parsed(cells)
            if parsed is not None:
                rows.setdefault(int(parsed["step"]), {}).update(parsed)
    return [rows[step] for step in sorted(rows)]


def _parsed(cells: Mapping[str, str | None]) -> dict[str, float] | None:
    """The numbers of a line; None where it was cut short."""
    if cells.get(OTHER) is None:  # the last cell of every whole line
        return None
    try:
        other = parse_json(cells[OTHER] or "{}")
        row = {name: float(cells[name] or "nan") for name in COLUMNS}
    except (KeyError, TypeError, ValueError):
        return None
    if not math.isfinite(row["step"]) or not isinstance(other, dict):
        return None
    return {**{name: value for name, value in row.items() if cells[name]}, **other}


def _cut_after(path: Path, step: int) -> None:
    """Truncate the file before the first line that is damaged, of a later step, or a test there."""
    with path.open("rb+") as file:
        header = file.readline()
        end = file.tell() if header == _line([*COLUMNS, OTHER]).encode() else 0
        while end and (line := file.readline()).endswith(b"\n"):
            # Only the last column, OTHER, can hold a comma.
            cells = dict(zip(COLUMNS, line.decode(errors="replace").split(","), strict=False))
            if not cells["step"].isdigit() or int(cells["step"]) > step:
                break
            if int(cells["step"]) == step and cells.get("test/loss"):
                break
            end = file.tell()
        file.truncate(end)


def _line(cells: list[object]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()
