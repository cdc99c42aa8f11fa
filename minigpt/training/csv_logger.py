"""A logger that keeps one row a step in metrics.csv, and keeps its rows when a run is resumed."""

import csv
from argparse import Namespace
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only


class MetricsCSV(Logger):
    """Rows are appended as they come; a metric not seen before widens the table.

    Lightning's own CSVLogger deletes what an earlier start of the run had written.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.path = Path(folder) / "metrics.csv"
        self.columns: list[str] = []
        self.row: dict[str, Any] = {}  # the step still being gathered
        self.opened = False

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kw: Any) -> None:
        """Nothing: config.yaml has them."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        if step is None:
            return
        if not self.opened:
            self._open(step)
        if self.row and self.row["step"] != step:
            self.save()
        self.row = {**self.row, **metrics, "step": step}

    def save(self) -> None:
        """Writes the step being gathered."""
        if not self.row:
            return
        if new := [column for column in self.row if column not in self.columns]:
            rows = self._read()
            self.columns = ["step", *(c for c in [*self.columns, *new] if c != "step")]
            self._rewrite(rows)
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.columns).writerow(self.row)
        self.row = {}

    def finalize(self, status: str) -> None:
        self.save()

    def _open(self, step: int) -> None:
        """Takes over the rows up to a step; a resumed run writes those after it again."""
        self.opened = True
        self.path.parent.mkdir(parents=True, exist_ok=True)
        rows = [row for row in self._read() if int(row["step"]) <= step]
        self.columns = list(rows[0]) if rows else []
        if rows and int(rows[-1]["step"]) == step:
            self.row = {**rows.pop(), "step": step}  # what is logged now joins it
        if rows:
            self._rewrite(rows)
        else:
            self.path.unlink(missing_ok=True)
            self.columns = []

    def _read(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        with self.path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def _rewrite(self, rows: list[dict[str, Any]]) -> None:
        partial = self.path.with_suffix(".csv.partial")
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(rows)
        partial.replace(self.path)
