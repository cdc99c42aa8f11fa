"""The report's plots, as SVG in the text colour of the page."""

import io
import math
import re
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from minigpt.reports.comparable import Comparable, measure_of
from minigpt.reports.compared_runs import ComparedRun, Point
from minigpt.reports.differences import BITS
from minigpt.statistics.pareto import pareto_front

# The palette of Okabe and Ito (2008) for colour-blind readers, without its black.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#8C7300")
DASHES = ("-", "--", ":")
INK = "#010203"  # becomes the page's own text colour
NAMED = len(COLOURS) * len(DASHES)  # further runs are drawn in grey and not named
POINTS = 300  # drawn per curve; more would not be visible

STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "minigpt",  # the same runs give the same file
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "axes.grid": True,
    "legend.frameon": False,
}


def curves(runs: Sequence[ComparedRun], ink: str | None = None) -> str:
    """Training and held-out loss over steps, tokens and training time; empty without metrics.

    ink: the text colour, for a file; None gives an element in the text colour of its page.
    """
    held_out = (
        ("held-out bits per byte", "val/bits_per_byte")
        if measure_of(runs) is BITS
        else ("held-out loss (nats)", "val/loss")
    )
    rows = []  # only of what was logged: axes without a curve would say nothing
    for ylabel, metric in (("training loss (nats)", "train/loss"), held_out):
        series = [run.series(metric) for run in runs]
        if any(series):
            rows.append((ylabel, metric, series))
    if not rows:
        return ""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11, 0.4 + 3 * len(rows)), layout="constrained")
        panels = figure.subplots(len(rows), 3, sharey="row", squeeze=False)
        columns = (
            ("optimizer step", 0, 1.0),
            ("million tokens", 1, 1e6),
            ("minutes of training", 2, 60.0),
        )
        for row, (ylabel, metric, series) in zip(panels, rows, strict=True):
            for axes, (xlabel, which, unit) in zip(row, columns, strict=True):
                for number, (run, points) in enumerate(zip(runs, series, strict=True)):
                    _curve(axes, run, number, points, which, unit, metric)
                axes.set_xlabel(xlabel)
                axes.xaxis.set_major_locator(MaxNLocator(5))  # more labels would overlap
            row[0].set_ylabel(ylabel)
            _losses_only(row[0], [p[3] for points in series for p in points])
        named = {
            label: handle  # once, of a run that has curves in both rows
            for row in panels
            for handle, label in zip(*row[0].get_legend_handles_labels(), strict=True)
        }
        if len(runs) > 1 and named:
            figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=4)
        return svg(figure, ink)


def _curve(
    axes: Axes,
    run: ComparedRun,
    number: int,
    points: list[Point],
    which: int,
    unit: float,
    metric: str,
) -> None:
    if not points:
        return
    every = max(1, len(points) // POINTS)
    kept = [*points[:-1:every], points[-1]]
    x, y = [p[which] / unit for p in kept], [p[3] for p in kept]
    if number >= NAMED:
        axes.plot(x, y, color="#888888", linewidth=0.6, alpha=0.5)
        return
    axes.plot(
        x,
        y,
        color=COLOURS[number % len(COLOURS)],
        linestyle=DASHES[number // len(COLOURS) % len(DASHES)],
        linewidth=1.2,
        # A single point has no line that would show it.
        marker="o" if len(kept) < (40 if metric.startswith("val/") else 2) else None,
        markersize=3.5,
        label=run.name,
    )


def _losses_only(axes: Axes, values: list[float]) -> None:
    """Limit the axis to most of the losses: the first steps or a divergence would stretch it."""
    finite = sorted(value for value in values if math.isfinite(value))
    if finite:
        low, high = finite[0], finite[min(len(finite) - 1, int(len(finite) * 0.97))]
        room = max(0.05, (high - low) * 0.05)
        axes.set_ylim(low - room, high + room)


def heat_map(among: Comparable, rows: str, columns: str) -> str:
    """The ranked figure over two swept keys; a cell of several runs shows the lowest."""
    cells: dict[tuple[float, float], float] = {}
    for each in among.ranked:
        at = (each.run.settings.get(rows), each.run.settings.get(columns))
        if all(isinstance(value, int | float) for value in at):
            key = (float(at[0]), float(at[1]))  # type: ignore[arg-type]
            cells[key] = min(each.figure, cells.get(key, math.inf))
    ys, xs = sorted({y for y, _ in cells}), sorted({x for _, x in cells})
    grid = [[cells.get((y, x), math.nan) for x in xs] for y in ys]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(1.6 + 1.1 * len(xs), 1.2 + 0.6 * len(ys)), layout="constrained")
        axes = figure.subplots()
        image = axes.imshow(grid, cmap="cividis", aspect="auto", origin="lower")
        axes.grid(False)
        axes.set_xticks(range(len(xs)), [f"{x:g}" for x in xs])
        axes.set_yticks(range(len(ys)), [f"{y:g}" for y in ys])
        axes.set_xlabel(columns)
        axes.set_ylabel(rows)
        middle = (min(cells.values()) + max(cells.values())) / 2
        for (y, x), loss in cells.items():
            axes.text(
                xs.index(x), ys.index(y), f"{loss:.3f}", ha="center", va="center",
                color="#ffffff" if loss < middle else "#000000",
            )  # fmt: skip
        figure.colorbar(image, ax=axes, label=f"lowest {among.measure.title}")
        return svg(figure, None)


def costs(runs: Sequence[ComparedRun], among: Comparable) -> str:
    """The ranked figure against parameters and against compute, with the Pareto front.

    runs: in the order of their colours in the curves. Empty where no run is ranked.
    """
    figures = among.figures
    if not figures:
        return ""
    shown = [(run, figures[run.folder.path]) for run in runs if run.folder.path in figures]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
        for axes, (label, cost) in zip(
            panels,
            (("parameters", "parameters"), ("training compute (FLOPs)", "flops")),
            strict=True,
        ):
            points = [(getattr(run, cost), y) for run, y in shown]
            front = pareto_front(points)
            if len(front) > 1:
                axes.step(*zip(*front, strict=True), where="post", color=INK, linewidth=0.8,
                          linestyle="--", label="Pareto front")  # fmt: skip
            for number, run in enumerate(runs):
                y = figures.get(run.folder.path, math.nan)
                if math.isfinite(y) and math.isfinite(getattr(run, cost)):
                    colour = COLOURS[number % len(COLOURS)] if number < NAMED else "#888888"
                    axes.plot(getattr(run, cost), y, "o", color=colour, markersize=6)
            if all(x > 0 for x, _ in points):
                axes.set_xscale("log")
            axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: amount(x)))
            axes.xaxis.set_minor_formatter(FuncFormatter(lambda x, _: ""))
            if len({x for x, _ in points}) > 1:
                axes.set_xticks(
                    sorted({x for x, _ in points})[:: max(1, len({x for x, _ in points}) // 5)]
                )
            axes.margins(x=0.25, y=0.15)
            if len(shown) <= 12:
                _name_points(axes, points, [run.name for run, _ in shown])
            axes.set_xlabel(label)
        panels[0].set_ylabel(among.measure.title)
        return svg(figure, None)


def _name_points(axes: Axes, points: list[tuple[float, float]], names: list[str]) -> None:
    """Write the names beside their points, those of the best runs first.

    A name that would overlap an earlier one is left out; its point has the colour of its curve.
    """
    if not points:
        return
    low, high = axes.get_ylim()
    height = (high - low) / 18  # of a name, in the unit of the axis
    across = axes.transAxes.inverted().transform(axes.transData.transform(points))[:, 0]
    written: list[float] = []
    for (x, y), name, share in zip(points, names, across, strict=True):
        if math.isfinite(x) and all(abs(y - other) >= height for other in written):
            written.append(y)
            left = share > 0.5  # a name to the right of its point would leave the panel
            axes.annotate(name, (x, y), xytext=(-5 if left else 5, 4), textcoords="offset points",
                          fontsize=8, ha="right" if left else "left")  # fmt: skip


def amount(value: float) -> str:
    """Three digits and a unit: 1.23M."""
    for unit, letter in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:.3g}{letter}"
    return f"{value:.3g}"


def svg(figure: Figure, ink: str | None) -> str:
    """The figure as an element of a page; with an ink, as a file on white."""
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=ink is None, metadata={"Date": None})
    text = out.getvalue().replace(INK, ink or "currentColor")
    if ink is not None:
        return text
    text = text[text.index("<svg") :]
    # It scales with the page. matplotlib gives each plot its own ids.
    return re.sub(
        r'<svg [^>]*?viewBox="([^"]+)"[^>]*>', r'<svg viewBox="\1" role="img">', text, count=1
    )
