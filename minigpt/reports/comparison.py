"""Runs -> report.html, report.md, runs.csv and curves.svg."""

import csv
import io
import math
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from minigpt.model.loss import perplexity
from minigpt.reports.compared_runs import Run, differing, find_runs, ranked
from minigpt.reports.findings import (
    REPORT_B,
    ReportRow,
    beside_report_b,
    findings,
    report_b_findings,
)
from minigpt.reports.plots import costs, curves, heat_map

COMPARED = 12  # runs whose settings stand side by side in report.md; the page has any two
SAMPLES = 8


def compare(places: Sequence[Path], out: Path) -> list[Run]:
    """Writes the report of every run in and below the given folders; returns them, best first.

    Raises UserError where there is none.
    """
    runs = ranked(find_runs(places))
    keys = differing(runs)
    out.mkdir(parents=True, exist_ok=True)
    _write(out / "runs.csv", runs_csv(runs, keys))
    content = _content(runs, keys)
    _write(out / "report.md", markdown(content))
    _write(out / "report.html", html(runs, content))
    _write(out / "curves.svg", curves(runs, ink="#444444"))
    return runs


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, "utf-8")
    os.replace(partial, path)


def row(run: Run, keys: Sequence[str]) -> dict[str, Any]:
    """What runs.csv says of a run, in full precision; NaN where it did not come so far."""
    return {
        "run": run.name,
        **{key: run.config.get(key) for key in keys},
        "parameters": run.parameters,
        "train_loss": run.train_loss,
        "train_perplexity": perplexity(run.train_loss),
        "best_val_loss": run.val_loss,
        "best_val_perplexity": run.figure("best", "val_perplexity"),
        "best_step": run.figure("best", "step"),
        "gap": run.gap,
        "test_loss": run.figure("test", "loss"),
        "test_perplexity": run.figure("test", "perplexity"),
        "steps": run.figure("steps"),
        "tokens": run.tokens,
        "flops": run.flops,
        "tokens_per_second": run.figure("tokens_per_second"),
        "seconds": run.seconds,
        "peak_memory_bytes": run.figure("peak_memory_bytes"),
        "status": run.status,
        "reason": run.reason,
        "folder": str(run.folder),
    }


def runs_csv(runs: Sequence[Run], keys: Sequence[str]) -> str:
    out = io.StringIO()
    rows = [row(run, keys) for run in runs]
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for values in rows:
        whole = {
            k: int(v) if isinstance(v, float) and v.is_integer() else v for k, v in values.items()
        }
        writer.writerow({k: "" if v != v else v for k, v in whole.items()})
    return out.getvalue()


def table(runs: Sequence[Run], keys: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Column names and cells, rounded to what a person reads."""
    columns = ["run", *(key.rpartition(".")[2] for key in keys), "parameters", "train loss",
               "train ppl", "held-out loss", "held-out ppl", "at step", "gap", "test loss",
               "test ppl", "tokens", "tokens/s", "time", "memory", "status"]  # fmt: skip
    cells = []
    for run in runs:
        cells.append(
            [
                run.name,
                *(_shortened(_text(run.config.get(key))) for key in keys),
                _number(run.parameters, ","),
                _number(run.train_loss, ".3f"),
                _number(perplexity(run.train_loss), ",.1f"),
                _number(run.val_loss, ".3f"),
                _number(run.figure("best", "val_perplexity"), ",.1f"),
                _number(run.figure("best", "step"), ","),
                _number(run.gap, "+.2f"),
                _number(run.figure("test", "loss"), ".3f"),
                _number(run.figure("test", "perplexity"), ",.1f"),
                _number(run.tokens, ","),
                _number(run.figure("tokens_per_second"), ",.0f"),
                _time(run.seconds),
                _number(run.figure("peak_memory_bytes") / 2**30, ".2f", " GiB"),
                run.status,
            ]
        )
    return columns, cells


def _content(runs: Sequence[Run], keys: Sequence[str]) -> dict[str, Any]:
    """What both pages say."""
    columns, cells = table(runs, keys)
    report_b = beside_report_b(runs)
    statuses = [run.status for run in runs]
    finished = statuses.count("finished")
    commits = {run.summary.get("code_commit") or "no commit" for run in runs if run.summary}
    return {
        "title": f"{len(runs)} runs compared" if len(runs) > 1 else "One run",
        "subtitle": f"{finished} of {len(runs)} finished; code at {', '.join(sorted(commits))}",
        "findings": findings(runs),
        "columns": columns,
        "cells": cells,
        "report_b": [_report_cells(entry, report_b) for entry in report_b],
        "report_b_findings": report_b_findings(report_b),
        "runs": [run.name for run in runs],
        "settings": [(key, [_text(run.config.get(key)) for run in runs]) for key in keys],
        "samples": [
            {"name": run.name, **run.summary["sample"]}
            for run in runs[:SAMPLES]
            if run.summary.get("sample")
        ],
        "commands": [{"name": run.name, "text": _again(run)} for run in runs],
    }


def _report_cells(entry: ReportRow, rows: Sequence[ReportRow]) -> list[str]:
    run = entry.run
    bases = [row for row in rows if row.run.experiment == "baseline"]
    base = bases[0] if bases and bases[0].run.status == "finished" else None
    return [
        run.name,
        _number(run.train_loss, ".4f"),
        _number(perplexity(run.train_loss), ",.2f"),
        _number(run.seconds / base.run.seconds, ".2f") if base and run.status == "finished" else "",
        f"{entry.loss:.4f}",
        f"{math.exp(entry.loss):,.2f}",
        f"{entry.hours / REPORT_B['baseline']['hours']:.2f}",
    ]


def _again(run: Run) -> str:
    """The command that makes this run again, alone where it was a job of a sweep."""
    command = run.summary.get("command", "")
    commit = (run.summary.get("code_commit") or "").removesuffix("-dirty")
    checkout = f"git checkout {commit}\n" if commit else ""
    overrides = run.summary.get("overrides")
    if overrides is not None:
        # What is swept stands among them as the value that this run had.
        own = [given for given in overrides if not given.lstrip("+").startswith("sweep=")]
        command = shlex.join(["python", "train.py", *own])
    return f"{checkout}{command}" if command else f"minigpt: the settings are in {run.folder}"


def html(runs: Sequence[Run], content: dict[str, Any]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("minigpt.reports", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    rows = [
        {"cells": cells, "kind": "best" if i == 0 else "" if run.status == "finished" else "bad"}
        for i, (run, cells) in enumerate(zip(runs, content["cells"], strict=True))
    ]
    axes = ("optimizer.lr", "model.n_embd")
    measured = [run for run in runs if run.status == "finished" and math.isfinite(run.val_loss)]
    both = all(len({run.config.get(key) for run in measured}) > 1 for key in axes)
    return environment.get_template("report.html.jinja").render(
        **content,
        rows=rows,
        curves=curves(runs),
        costs=costs(runs),
        heat_map=heat_map(measured, *axes) if both else "",
    )


def markdown(content: dict[str, Any]) -> str:
    parts = [f"# {content['title']}", content["subtitle"], "## Findings"]
    parts.append("\n".join(f"- {finding}" for finding in content["findings"]))
    parts += ["## Runs, best first", _markdown_table(content["columns"], content["cells"])]
    if content["report_b"]:
        columns = ["run", "training loss", "perplexity", "time, baseline = 1", "report's loss",
                   "report's perplexity", "report's time, baseline = 1"]  # fmt: skip
        parts += ["## Beside report B", _markdown_table(columns, content["report_b"])]
        parts.append("\n".join(f"- {finding}" for finding in content["report_b_findings"]))
    names = content["runs"][:COMPARED]
    rows = [[k, *map(_shortened, values[:COMPARED])] for k, values in content["settings"]]
    parts += ["## How the runs differ", _markdown_table(["key", *names], rows)]
    parts.append("## How to run each again")
    parts += [f"{c['name']}:\n\n```sh\n{c['text']}\n```" for c in content["commands"]]
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] + ["---:"] * (len(columns) - 1), *rows]
    return "\n".join(
        "| " + " | ".join(c.replace("|", "\\|") for c in line) + " |" for line in lines
    )


def _number(value: float, form: str, unit: str = "") -> str:
    if not math.isfinite(value):
        return ""
    return format(int(value) if form == "," else value, form) + unit


def _time(seconds: float) -> str:
    if not math.isfinite(seconds):
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else "null" if value is None else str(value)


def _shortened(text: str, most: int = 40) -> str:
    return text if len(text) <= most else f"...{text[3 - most :]}"


def print_comparison(runs: Sequence[Run], out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from minigpt.command_lines import display_path

    keys = differing(runs)
    columns, cells = table(runs, keys)
    wanted = ["run", "parameters", "train loss", "held-out loss", "held-out ppl", "time", "status"]
    shown = Table(box=None, padding=(0, 2, 0, 0))
    for name in wanted:
        shown.add_column(name, justify="left" if name in ("run", "status") else "right")
    for line in cells[:30]:
        shown.add_row(*(line[columns.index(name)] for name in wanted))
    console = Console(highlight=False)
    console.print(shown)
    if len(cells) > 30:
        console.print(f"... and {len(cells) - 30} more")
    console.print()
    for finding in findings(runs):
        console.print(f"- {finding}", markup=False)
    console.print()
    console.print(f"report  {display_path(out.resolve() / 'report.html')}", soft_wrap=True)
