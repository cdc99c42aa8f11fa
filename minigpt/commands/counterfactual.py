"""`minigpt counterfactual`: the documents that a sweep's models know only when trained on them."""

import argparse
import sys
from pathlib import Path

from rich.table import Table

from minigpt.command_lines import display_path
from minigpt.errors import UserError
from minigpt.evaluation.counterfactual import (
    Counterfactual,
    counterfactual,
    subset_runs,
    write_counterfactual,
)
from minigpt.reports.compared_runs import ComparedRun, find_runs
from minigpt.reports.comparison import compare
from minigpt.reports.counterfactual import counterfactual_section, sentences
from minigpt.reports.differing_keys import differing_keys
from minigpt.reports.terminal_table import Console
from minigpt.reproductions.all_reports import REPRODUCTIONS

# What the runs of a sweep may differ in.
SUBSET = "data.subset."
CHANCE = "seed"


def run(args: argparse.Namespace) -> None:
    result = measure(args.sweep)
    compare([args.sweep], args.sweep, REPRODUCTIONS)  # whose report shows the result
    if args.json:
        print(result.model_dump_json(indent=2))
    else:
        print_counterfactual(result, args.sweep)


def differs_by_subset(runs: list[ComparedRun]) -> bool:
    """True if runs were trained on different parts of their documents."""
    return any(key.startswith(SUBSET) for key in differing_keys(runs))


def measure(sweep: Path) -> Counterfactual:
    """Score the finished runs of a sweep and write counterfactual.json into its folder.

    Raises UserError where its runs are not comparable, or fewer than two finished.
    """
    found = find_runs([sweep])
    runs = [run for run in found if run.is_finished]
    of_subsets = subset_runs([run.folder for run in found])
    if len(of_subsets) < len(found):
        raise UserError(
            f"{sweep}: {len(found) - len(of_subsets)} of {len(found)} runs were trained on all "
            "documents; name a sweep that python train.py +sweep=counterfactual made"
        )
    if len(runs) < 2:
        raise UserError(
            f"{sweep}: {len(runs)} of {len(found)} runs finished, at least two are needed; run the "
            "sweep's command again"
        )
    others = [key for key in differing_keys(runs) if not key.startswith(SUBSET) and key != CHANCE]
    if others:
        raise UserError(
            f"{sweep}: its runs differ in {', '.join(others)}, too; only data.subset and seed may "
            "differ"
        )

    def progress(number: int) -> None:
        print(f"scoring all documents with model {number} of {len(runs)}", file=sys.stderr)

    result = counterfactual([run.folder for run in runs], progress=progress)
    write_counterfactual(result, sweep)
    return result


def print_counterfactual(result: Counterfactual, sweep: Path) -> None:
    """Print the most memorised documents, and where the report is."""
    section = counterfactual_section(result)
    table = Table(box=None, padding=(0, 2, 0, 0))
    shown = len(section.columns) - 1  # without the beginnings
    for i, name in enumerate(section.columns[:shown]):
        table.add_column(name, justify="right" if i else "left")
    for row in section.rows:
        table.add_row(*row[:shown])
    console = Console()
    console.print(table)
    console.print()
    for sentence in sentences(result):
        console.print(f"- {sentence}")
    console.print()
    console.print(f"report  {display_path(sweep.resolve() / 'report.html')}", soft_wrap=True)
