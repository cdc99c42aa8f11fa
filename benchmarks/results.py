"""Formatting results and writing them to docs/results/."""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent.parent / "docs" / "results"


def argument_parser(doc: str | None, rounds: int | None = None) -> argparse.ArgumentParser:
    """The options that the benchmarks share; doc is the script's docstring."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    if rounds is not None:
        parser.add_argument("--rounds", type=int, default=rounds, help="repetitions of each side")
    parser.add_argument("--stdout", action="store_true", help="print the page, write no file")
    return parser


def spread(values: list[float], form: str = ",.2f") -> str:
    """Median (minimum to maximum)."""
    low, high = min(values), max(values)
    return f"{statistics.median(values):{form}} ({low:{form}} to {high:{form}})"


def markdown_table(rows: list[list[str]]) -> str:
    """Rows of cells, the first two of them the header and its rule, as a Markdown table."""
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def publish(name: str, page: str, stdout: bool, data: dict[str, Any] | None = None) -> None:
    """Print a page; unless stdout is set, write it to docs/results/, with its data as JSON."""
    print(page)
    if stdout:
        return
    (RESULTS / f"{name}.md").write_text(page, "utf-8")
    if data is not None:
        (RESULTS / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n", "utf-8")
