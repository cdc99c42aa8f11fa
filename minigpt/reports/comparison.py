"""Runs -> report.html, report.md, runs.csv and curves.svg."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from minigpt.atomic_file import write_file
from minigpt.command_lines import display_path
from minigpt.evaluation.counterfactual import read_counterfactual
from minigpt.model.loss import perplexity
from minigpt.reports.best_runs import standing_figures
from minigpt.reports.comparable import best_first, comparable
from minigpt.reports.compared_runs import ComparedRun, find_runs
from minigpt.reports.counterfactual import counterfactual_section
from minigpt.reports.differing_keys import differing_keys
from minigpt.reports.findings import comparable_groups, findings
from minigpt.reports.learning_rates import learning_rate_section
from minigpt.reports.pages import html, markdown, page_content
from minigpt.reports.plots import curves
from minigpt.reports.reproduction import Reproduction, Section
from minigpt.reports.tables import comparison_table
from minigpt.reports.terminal_table import Console
from minigpt.reports.text import finite

SHOWN = 30  # runs in the terminal


def compare(
    places: Sequence[Path | str], out: Path | str, reproductions: Sequence[Reproduction] = ()
) -> list[ComparedRun]:
    """Write the report of every run in and below the given folders; returns them, best first.

    out: the report's folder. Raises UserError where there is no run.
    """
    folders, out = [Path(place) for place in places], Path(out)
    runs = best_first(find_runs(folders))
    keys = differing_keys(runs)
    measured = [section for folder in folders if (section := _counterfactual(folder)) is not None]
    measured += [section] if (section := learning_rate_section(runs)) is not None else []
    content = page_content(runs, keys, reproductions, measured)
    write_file(out / "runs.csv", runs_csv(runs, keys))
    write_file(out / "report.md", markdown(content))
    write_file(out / "report.html", html(runs, content))
    if drawn := curves(runs, ink="#444444"):
        write_file(out / "curves.svg", drawn)
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


def comparison_figures(runs: Sequence[ComparedRun], out: Path | str) -> dict[str, Any]:
    """The runs and settings, best first, where they differ, the findings, and the report's place.

    A figure that a run did not reach is None.
    """
    keys, among = differing_keys(runs), comparable(runs)
    rows = [{key: finite(value) for key, value in _row(run, keys).items()} for run in runs]
    return {
        "report": str(Path(out) / "report.html"),
        "differing": keys,
        "runs": rows,
        "ranked_by": among.measure.unit,
        "settings": standing_figures(comparable_groups(runs, among)),
        "findings": findings(runs),
    }


def _row(run: ComparedRun, keys: Sequence[str]) -> dict[str, Any]:
    best, summary, total = run.summary.best, run.summary, run.documents_total
    test = summary.evaluation.get("test")
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
        "bits_per_byte": run.bits_per_byte,
        "bits_per_byte_stderr": total and total.bits_per_byte_stderr,
        "test_bits_per_byte": test and test.bits_per_byte,
        "steps": summary.steps,
        "tokens": summary.tokens_seen,
        "flops": run.flops,
        "tokens_per_second": run.tokens_per_second,
        "seconds": summary.wall_seconds,
        "peak_memory_bytes": run.peak_memory,
        "status": summary.outcome,
        "reason": summary.reason or "",
        "folder": str(run.folder.path),
    }


def _cell(value: Any) -> Any:
    """Whole numbers without a decimal point; None and NaN as an empty cell.

    A text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    if value is None or value != value:
        return ""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return int(value) if isinstance(value, float) and value.is_integer() else value


def print_comparison(runs: Sequence[ComparedRun], out: Path) -> None:
    """Print the runs, the findings, and where the report is."""
    columns, cells = comparison_table(runs, differing_keys(runs))
    names = ["run", "parameters", "train loss", "held-out loss", "bits per byte", "time",
             "status"]  # fmt: skip
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in names:
        table.add_column(name, justify="left" if name in ("run", "status") else "right")
    for line in cells[:SHOWN]:
        table.add_row(*(line[columns.index(name)] for name in names))
    console = Console()
    console.print(table)
    if len(cells) > SHOWN:
        console.print(f"... and {len(cells) - SHOWN} more")
    console.print()
    for finding in findings(runs):
        console.print(f"- {finding}", markup=False)
    console.print()
    console.print(f"report  {display_path(out.resolve() / 'report.html')}", soft_wrap=True)
