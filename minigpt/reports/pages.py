"""The comparison as a page: HTML that needs no network, and Markdown."""

import re
import shlex
from collections.abc import Sequence
from typing import Any

from minigpt.reports.best_runs import standings_section
from minigpt.reports.comparable import comparable
from minigpt.reports.compared_runs import ComparedRun
from minigpt.reports.findings import comparable_groups, findings
from minigpt.reports.plots import costs, curves, heat_map
from minigpt.reports.reproduction import Reproduction, Section
from minigpt.reports.tables import comparison_table
from minigpt.reports.templates import template
from minigpt.reports.text import setting, shortened

COMPARED = 12  # runs whose settings stand side by side in report.md; the page has any two
SAMPLES = 8


def page_content(
    runs: Sequence[ComparedRun],
    keys: Sequence[str],
    reproductions: Sequence[Reproduction],
    measured: Sequence[Section],
) -> dict[str, Any]:
    """The content of both pages. measured: sections beside those of the reproductions."""
    columns, cells = comparison_table(runs, keys)
    finished = sum(run.is_finished for run in runs)
    among = comparable(runs)
    groups = comparable_groups(runs, among)
    section = standings_section(groups, among.measure)
    standings = [] if section is None else [section]
    reproduced = [s for r in reproductions if (s := r.section(runs)) is not None]
    commits = {run.summary.code_commit or "no commit" for run in runs}
    return {
        "title": f"{len(runs)} runs compared" if len(runs) > 1 else "One run",
        "subtitle": f"{finished} of {len(runs)} finished; code at {', '.join(sorted(commits))}",
        "findings": findings(runs),
        "columns": columns,
        "cells": cells,
        "sections": [*standings, *reproduced, *measured],
        "measure": among.measure.name,
        "runs": [run.name for run in runs],
        "settings": [(key, [setting(run.settings.get(key)) for run in runs]) for key in keys],
        "samples": [
            {"name": run.name, "prompt": run.summary.sample.prompt, "text": run.summary.sample.text}
            for run in runs[:SAMPLES]
            if run.summary.sample
        ],
        "commands": [{"name": run.name, "text": command_again(run)} for run in runs],
    }


def command_again(run: ComparedRun) -> str:
    """The commands that repeat this run; a sweep's job is repeated alone."""
    summary = run.summary
    commit = (summary.code_commit or "").removesuffix("-dirty")
    checkout = f"git checkout {shlex.quote(commit)}\n" if commit else ""
    overrides = list(summary.overrides)  # a job's hold its own values of the swept keys
    if any(word.lstrip("+").startswith("sweep=") for word in overrides):
        overrides.append("hydra.mode=RUN")  # a prepared sweep sets other keys too
    if overrides:
        command = shlex.join(["python", "train.py", *overrides])
    elif summary.command:
        command = summary.command
    else:
        return f"the settings are in {run.folder.config}"
    return checkout + "\n".join([command, *summary.resumed_by])


def html(runs: Sequence[ComparedRun], content: dict[str, Any]) -> str:
    among = comparable(runs)
    ranked = [each.run for each in among.ranked]
    kinds = ["best" if run in ranked[:1] else "" if run.is_finished else "bad" for run in runs]
    rows = [
        {"cells": cells, "kind": kind} for kind, cells in zip(kinds, content["cells"], strict=True)
    ]
    axes = ("optimizer.lr", "model.n_embd")
    both = all(len({run.settings.get(key) for run in ranked}) > 1 for key in axes)
    return template("report.html.jinja").render(
        **content,
        rows=rows,
        curves=curves(runs),
        costs=costs(runs, among),
        heat_map=heat_map(among, *axes) if both else "",
    )


def markdown(content: dict[str, Any]) -> str:
    parts = [
        f"# {content['title']}",
        content["subtitle"],
        "## Findings",
        _list(content["findings"]),
    ]
    parts += ["## Runs, best first", _table(content["columns"], content["cells"])]
    for section in content["sections"]:
        parts += [f"## {section.title}", _table(section.columns, section.rows)]
        parts += [_list(section.findings), section.note]
    names = content["runs"][:COMPARED]
    rows = [[k, *map(shortened, values[:COMPARED])] for k, values in content["settings"]]
    parts += ["## How the runs differ", _table(["key", *names], rows)]
    parts.append("## How to run each again")
    parts += [f"{plain_line(c['name'])}:\n\n{_fenced(c['text'])}" for c in content["commands"]]
    return "\n\n".join(part for part in parts if part) + "\n"


def plain_line(text: str) -> str:
    """A text of a run's files as Markdown that shows it: one line, and no HTML."""
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", " ".join(text.split()))


def _fenced(code: str) -> str:
    """A block of code, in a fence that the code itself cannot close."""
    fence = "```"
    while fence in code:
        fence += "`"
    return f"{fence}sh\n{code}\n{fence}"


def _list(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {plain_line(sentence)}" for sentence in sentences)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] + ["---:"] * (len(columns) - 1), *rows]
    return "\n".join(
        "| " + " | ".join(plain_line(cell).replace("|", "\\|") for cell in line) + " |"
        for line in lines
    )
