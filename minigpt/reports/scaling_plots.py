"""The pictures of a scaling law, as SVG."""

import math

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minigpt.reports.plots import COLOURS, INK, STYLE, amount, svg
from minigpt.reports.scaling_study import Scaling
from minigpt.reports.text import operations
from minigpt.statistics.compute_optimal import best_allocation, iso_budget
from minigpt.statistics.repeated_tokens import effective_tokens

WIDTH = 10.5  # inches
POINTS = 200  # of a curve
BEYOND = 2.0  # how far curves go on beyond the runs
MARKERS = "osD^vP*X"


def iso_flop_plot(scaling: Scaling, ink: str | None = None) -> str:
    """Loss over size at equal compute, with the best size of each, and the runs.

    ink: the text colour, for a file; None gives an element in the text colour of its page.
    """
    cost, advice = scaling.operations, scaling.table
    runs = scaling.ladder.runs
    low, high = min(run.size for run in runs), max(run.size for run in runs)
    sizes = np.geomspace(low / BEYOND, high * 2 * BEYOND, POINTS)
    unique = scaling.ladder.unique_tokens
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
        axes = figure.subplots()
        budgets = [a.flops for a in advice] + ([scaling.asked.flops] if scaling.asked else [])
        for number, flops in enumerate(sorted(set(budgets))):
            colour = COLOURS[number % len(COLOURS)]
            losses = iso_budget(scaling.law, cost, flops, unique, sizes)
            axes.plot(sizes, losses, color=colour, label=f"{operations(flops)} operations")
            best = best_allocation(scaling.law, cost, flops, unique)
            axes.plot(best.size, best.loss, "*", color=colour, markersize=11)
        axes.plot([run.size for run in runs], [run.loss for run in runs], "o", color=INK,
                  markersize=4, label="a run")  # fmt: skip
        axes.plot([], [], "*", color=INK, linestyle="none", label="best size")
        top = max(run.loss for run in runs)
        bottom = min(min(run.loss for run in runs), *(a.loss for a in advice))
        axes.set_ylim(bottom - 0.1 * (top - bottom), top + 0.15 * (top - bottom))
        _sizes(axes, "size: parameters in matrix products")
        axes.set_ylabel("held-out loss (nats a token)")
        figure.legend(loc="outside right upper")
        return svg(figure, ink)


def fit_plot(scaling: Scaling) -> str:
    """Loss over tokens for each size, and the fitted loss against the measured one."""
    runs = scaling.ladder.runs
    low, high = min(run.tokens for run in runs), max(run.tokens for run in runs)
    tokens = np.geomspace(low / BEYOND, high * BEYOND, POINTS)
    worth = effective_tokens(tokens, scaling.ladder.unique_tokens)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.8), layout="constrained")
        curves, errors = figure.subplots(1, 2, width_ratios=(1.5, 1))
        for number, size in enumerate(sorted({run.size for run in runs})):
            look = {"color": COLOURS[number % len(COLOURS)],
                    "marker": MARKERS[number % len(MARKERS)]}  # fmt: skip
            of_size = [run for run in runs if run.size == size]
            fitted = [scaling.fitted(run) for run in of_size]
            losses = [run.loss for run in of_size]
            curves.plot(tokens, scaling.law.loss(np.array(float(size)), worth),
                        color=look["color"], linewidth=1)  # fmt: skip
            curves.plot([run.tokens for run in of_size], losses, linestyle="none",
                        label=f"N = {amount(size)}", **look)  # fmt: skip
            errors.plot(losses, [f - m for f, m in zip(fitted, losses, strict=True)],
                        linestyle="none", **look)  # fmt: skip
        _sizes(curves, "training tokens")
        curves.set_ylabel("held-out loss (nats a token)")
        curves.legend(loc="upper right")
        errors.axhline(0, color=INK, linewidth=0.8, linestyle=":")
        errors.set_xlabel("measured loss (nats a token)")
        errors.set_ylabel("fitted less measured")
        return svg(figure, None)


def _sizes(axes: Axes, label: str) -> None:
    """A logarithmic axis whose ticks read 300k or 2M."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    ticks = [
        digit * 10.0**power
        for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)))
        for digit in (1, 2, 5)
        if low <= digit * 10.0**power <= high
    ]
    axes.set_xticks(ticks, [amount(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel(label)
