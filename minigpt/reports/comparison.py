"""Runs -> report.html, report.md, runs.csv and curves.svg."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from minigpt.atomic_file import write_file
from minigpt.command_lines import display_path
from minigpt.evaluation.counterfactual import read_counterfactual
from minigpt.model.loss import perplexity
from minigpt.reports.compared_runs import ComparedRun, differing_keys, find_runs, ranked
from minigpt.reports.counterfactual import counterfactual_section
from minigpt.reports.findings import findings
from minigpt.reports.pages import html, markdown, page_content
from minigpt.reports.plots import curves
from minigpt.reports.reproduction import Reproduction, Section
from minigpt.reports.tables import comparison_table

SHOWN = 30  # runs in the terminal


def compare(
    places: Sequence[Path], out: Path, reproductions: Sequence[Reproduction] = ()
) -> list[ComparedRun]:
    """Write the report of every run in and below the given folders; returns them, best first.

    Raises UserError where there is none.
    """
    runs = ranked(find_runs(places))
    keys = differing_keys(runs)
    measured = [section for place in places if (section := _counterfactual(place)) is not None]
    content = page_content(runs, keys, reproductions, measured)
    write_file(out / "runs.csv", runs_csv(runs, keys))
    write_file(out / "report.md", markdown(content))
    write_file(out / "report.html", html(runs, content))
    write_file(out / "curves.svg", curves(runs, ink="#444444"))
    return runs


def _counterfactual(place: Path) -> Section | None:
    """What `minigpt counterfactual` measured of a sweep; None where it was not run."""
    result = read_counterfactual(place)
    return None if result is None else counterfactual_section(result)


def runs_csv(runs: Sequence[ComparedRun], keys: Sequence[str]) -> str:
    """One line per run in full precision; a figure that a run did not reach is empty."""
    out = io.StringIO()
    rows = [_row(run, keys) for run in runs]
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({column: _cell(value) for column, value in row.items()})
    return out.getvalue()


def _row(run: ComparedRun, keys: Sequence[str]) -> dict[str, Any]:
    best, summary = run.summary.best, run.summary
    return {
        "run": run.name,
        **{key: run.settings.get(key) for key in keys},
        "parameters": run.parameters,
        "train_loss": run.train_loss,
        "train_perplexity": perplexity(run.train_loss),
        "best_val_loss": run.val_loss,
        "best_val_perplexity": best and best.val_perplexity,
        "best_step": best and best.step,
        "gap": run.gap,
        "test_loss": run.test_loss,
        "test_perplexity": summary.test and summary.test.perplexity,
        "steps": summary.steps,
        "tokens": summary.tokens_seen,
        "flops": run.flops,
        "tokens_per_second": run.tokens_per_second,
        "seconds": summary.wall_seconds,
        "peak_memory_bytes": run.peak_memory,
        "status": summary.status.value,
        "reason": summary.reason or "",
        "folder": str(run.folder.path),
    }


def _cell(value: Any) -> Any:
    """Whole numbers without a decimal point; None and NaN as an empty cell."""
    if value is None or value != value:
        return ""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def print_comparison(runs: Sequence[ComparedRun], out: Path) -> None:
    """Print the runs, the findings, and where the report is."""
    columns, cells = comparison_table(runs, differing_keys(runs))
    names = ["run", "parameters", "train loss", "held-out loss", "held-out ppl", "time", "status"]
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in names:
        table.add_column(name, justify="left" if name in ("run", "status") else "right")
    for line in cells[:SHOWN]:
        table.add_row(*(line[columns.index(name)] for name in names))
    console = Console(highlight=False)
    console.print(table)
    if len(cells) > SHOWN:
        console.print(f"... and {len(cells) - SHOWN} more")
    console.print()
    for finding in findings(runs):
        console.print(f"- {finding}", markup=False)
    console.print()
    console.print(f"report  {display_path(out.resolve() / 'report.html')}", soft_wrap=True)
