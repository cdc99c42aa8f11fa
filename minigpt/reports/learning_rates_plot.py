"""The held-out loss over the learning rate, as SVG."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure

from minigpt.reports.plots import COLOURS, NAMED, STYLE, svg

PANELS = 4  # more would be too small to read
TICKS = 6
HEADROOM = 0.5  # nats above the best loss of a panel's worst curve that are shown


class Curve(NamedTuple):
    """A line of a panel."""

    panel: str
    label: str
    losses: Mapping[float, float]  # by learning rate
    best: float  # the rate that is marked


def learning_rates_plot(curves: Sequence[Curve], ink: str | None = None) -> str:
    """A panel for each name, with its curves; "" where there are too many to read.

    ink: the text colour, for a file; None gives an element in the text colour of its page.
    """
    panels = list(dict.fromkeys(curve.panel for curve in curves))
    if len(panels) > PANELS or len(curves) > len(panels) * NAMED:
        return ""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(max(7.0, 4.8 * len(panels)), 3.6), layout="constrained")
        rows = figure.subplots(1, len(panels), sharey=True, squeeze=False)
        for axes, panel in zip(rows[0], panels, strict=True):
            members = [curve for curve in curves if curve.panel == panel]
            for number, curve in enumerate(members):
                colour = COLOURS[number % len(COLOURS)]
                axes.plot(list(curve.losses), list(curve.losses.values()), color=colour,
                          marker=".", linewidth=1.2, label=curve.label)  # fmt: skip
                axes.plot([curve.best], [curve.losses[curve.best]], "o", color=colour, markersize=7)
            axes.set_xscale("log", base=2)
            rates = sorted({rate for curve in members for rate in curve.losses})
            ticks = rates[:: math.ceil(len(rates) / TICKS)]
            axes.set_xticks(ticks, [f"{rate:.2g}" for rate in ticks])
            axes.minorticks_off()
            axes.set_title(panel, fontsize=9)
            axes.set_xlabel("learning rate")
            if any(curve.label for curve in members):
                axes.legend(fontsize=8)
        lowest = [min(curve.losses.values()) for curve in curves]
        room = 0.05 * (max(lowest) + HEADROOM - min(lowest))
        rows[0][0].set_ylim(min(lowest) - room, max(lowest) + HEADROOM)
        rows[0][0].set_ylabel("held-out loss (nats)")
        return svg(figure, ink)
