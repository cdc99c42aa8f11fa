"""Formatting results and writing them to docs/results/."""

import argparse
import json
import os
import statistics
import textwrap
from pathlib import Path
from typing import Any

from machine import KINDS

RESULTS = Path(__file__).parent.parent / "docs" / "results"
WIDTH = 100  # of prose; tests/test_docs.py holds it


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


def wrapped(page: str) -> str:
    """A Markdown page with its prose filled to WIDTH; tables, code and headings stay."""
    out: list[str] = []
    paragraph: list[str] = []

    def end_paragraph() -> None:
        if paragraph:
            indent = "  " if paragraph[0].startswith("- ") else ""
            out.extend(
                textwrap.wrap(
                    " ".join(paragraph), WIDTH, subsequent_indent=indent,
                    break_long_words=False, break_on_hyphens=False,
                )
            )  # fmt: skip
            paragraph.clear()

    in_code = False
    for line in page.splitlines():
        fence = line.lstrip().startswith("```")
        if in_code or fence or not line.strip() or line.startswith(("#", "|", "![")):
            end_paragraph()
            out.append(line)
            in_code ^= fence
            continue
        if line.startswith("- "):
            end_paragraph()
        paragraph.append(line.strip())
    end_paragraph()
    return "\n".join(out) + "\n"


def publish(name: str, page: str, stdout: bool, data: dict[str, Any] | None = None) -> None:
    """Print a page; unless stdout is set, write it to docs/results/, with its data as JSON."""
    page = wrapped(page)
    print(page)
    if stdout:
        return
    (RESULTS / f"{name}.md").write_text(page, "utf-8")
    if data is not None:
        write_json(name, data)


def write_json(name: str, data: dict[str, Any]) -> None:
    """Replace docs/results/<name>.json whole, so that a killed benchmark leaves the old one."""
    path = RESULTS / f"{name}.json"
    new = path.with_suffix(".tmp")
    new.write_text(json.dumps(data, indent=1) + "\n", "utf-8")
    os.replace(new, path)


def stored_kinds(name: str) -> dict[str, Any]:
    """Kind of processor -> its results in docs/results/<name>.json, in the order of KINDS."""
    path = RESULTS / f"{name}.json"
    stored = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return {kind: stored[kind] for kind in KINDS if kind in stored}


def store_kind(name: str, kind: str, results: dict[str, Any]) -> None:
    """Replace the results of one kind of processor; those of the others stay."""
    stored = {**stored_kinds(name), kind: results}
    write_json(name, {kind: stored[kind] for kind in KINDS if kind in stored})
