"""The coordinate check as a page, as figures and on the terminal."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from minigpt.command_lines import display_path
from minigpt.evaluation.coordinates import QUANTITIES, Coordinates
from minigpt.reports.page_section import Section
from minigpt.reports.plots import COLOURS, STYLE, svg
from minigpt.reports.section_page import section_page
from minigpt.reports.terminal_table import Console, terminal_table
from minigpt.statistics.width_trend import FLAT, WidthTrend

NOTES = [
    "Sizes are mean absolute values over held-out tokens, without dropout; of attention and MLP "
    "over all blocks. The change is that of the same activations since the network was made.",
    "The change is what has to be flat (Yang et al., 2022, appendix D.1): where it grows with the "
    "width, a rate that suits a narrow network is too large for a wide one. Under mup the logits "
    "of an untrained network shrink as 1 / sqrt(width), as intended; the change outgrows them.",
]


def verdict(trend: WidthTrend) -> str:
    """A trend over widths in words."""
    if math.isnan(trend.ratio):
        return "not a number"
    if trend.is_flat:
        return f"flat within {FLAT:g}x"
    if math.isnan(trend.exponent):
        return "zero at some width"
    return f"{'grows' if trend.exponent > 0 else 'falls'} as width^{trend.exponent:+.2f}"


def summary(checks: Sequence[Coordinates]) -> list[str]:
    """A sentence for each parametrization: what the steps changed by the same amount."""
    sentences = []
    for check in checks:
        changes = [(name, trend) for name, figure, trend in check.lines if figure == "change"]
        moving = [f"{name} {verdict(trend)}" for name, trend in changes if not trend.is_flat]
        if moving:
            text = f"the change is not flat within {FLAT:g}x: {', '.join(moving)}"
        else:
            text = f"the change of all activations is flat within {FLAT:g}x"
        sentences.append(f"{check.parametrization}: {text}.")
    return sentences


def coordinate_figures(checks: Sequence[Coordinates]) -> dict[str, Any]:
    """The check for a script; a number that is not finite is None."""
    return {
        "summary": summary(checks),
        "lines": [
            {
                "parametrization": check.parametrization,
                "activation": name,
                "figure": figure,
                "values": {str(width): _finite(value) for width, value in trend.values.items()},
                "ratio": _finite(trend.ratio),
                "exponent": _finite(trend.exponent),
                "flat": trend.is_flat,
            }
            for check in checks
            for name, figure, trend in check.lines
        ],
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def coordinates_html(checks: Sequence[Coordinates], subtitle: str) -> str:
    """The page as one file that needs no network."""
    sections = [
        Section(
            f"Parametrization {check.parametrization}",
            [summary([check])[0]],
            *coordinate_table(check),
            plot=coordinates_plot([check]),
            caption="Change since the start over the width; a line for each number of steps.",
            notes=NOTES if check is checks[-1] else [],
        )
        for check in checks
    ]
    first, *others = summary(checks)[::-1]
    return section_page("Coordinate check", subtitle, first, others, sections)


def coordinate_table(check: Coordinates) -> tuple[list[str], list[list[str]]]:
    """Column names, and a row for each activation and figure."""
    widths = list(next(iter(check.sizes.values())))
    columns = ["activation", "figure", *(f"width {width:,}" for width in widths), "over widths"]
    rows = [
        [name, figure, *(f"{value:.3g}" for value in trend.values.values()), verdict(trend)]
        for name, figure, trend in check.lines
    ]
    return columns, rows


def coordinates_plot(checks: Sequence[Coordinates], ink: str | None = None) -> str:
    """The change of each activation over the width, a row for each parametrization, as SVG."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11, 2.6 * len(checks)), layout="constrained")
        rows = figure.subplots(len(checks), len(QUANTITIES), squeeze=False)
        for row, check in zip(rows, checks, strict=True):
            for axes, quantity in zip(row, QUANTITIES, strict=True):
                by_width = check.changes[quantity]
                steps = len(next(iter(by_width.values()))) - 1
                shown = sorted({1, round(math.sqrt(steps)), steps})
                for number, step in enumerate(shown):
                    axes.plot(
                        list(by_width), [values[step] for values in by_width.values()],
                        marker="o", markersize=3.5, color=COLOURS[number],
                        label=f"after {step} step{'s' if step > 1 else ''}",
                    )  # fmt: skip
                axes.set_xscale("log", base=2)
                axes.set_yscale("log")
                axes.set_xticks(list(by_width), [str(width) for width in by_width])
                axes.minorticks_off()
                axes.set_title(quantity, fontsize=9)
                axes.set_xlabel("width")
            row[0].set_ylabel(f"{check.parametrization}: mean |change|")
        handles = rows[0][0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=3)
        return svg(figure, ink)


def print_coordinates(checks: Sequence[Coordinates], page: Path) -> None:
    """Print the change at the end, the verdicts, and where the page is."""
    console = Console()
    for check in checks:
        columns, rows = coordinate_table(check)
        table = terminal_table(check.parametrization, *columns[1:])
        for row in rows:
            table.add_row(*row)
        console.print(table)
        console.print()
    for sentence in summary(checks):
        console.print(f"- {sentence}", markup=False)
    console.print(f"\npage  {display_path(page.resolve())}", soft_wrap=True)
