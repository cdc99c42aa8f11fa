"""The pictures of the page on memorisation, as SVG."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from minigpt.evaluation.capacity import Capacity
from minigpt.evaluation.extraction import CONTINUATION, DRAWS, Extraction
from minigpt.evaluation.membership import Membership
from minigpt.reports.plots import COLOURS, INK, STYLE, svg
from minigpt.statistics.ranking import roc

WIDTH = 10.5  # inches; the same for all, so that their text is of one size

# Each side has a colour and a dash of its own, for readers who cannot tell the colours apart.
OWN = {"color": COLOURS[3], "linestyle": "-", "label": "training text"}
OTHER = {"color": COLOURS[0], "linestyle": "--", "label": "held-out text"}


def extraction_plot(train: Extraction, held_out: Extraction | None) -> str:
    """Passages that come back by prefix, tokens that come back, and passages drawn by chance."""
    sides = [(train, OWN), *([(held_out, OTHER)] if held_out else [])]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
        by_prefix, by_tokens, by_draws = figure.subplots(1, 3)
        for side, look in sides:
            prefixes = [recall.prefix for recall in side.recalls]
            shares = [recall.extracted for recall in side.recalls]
            by_prefix.plot(prefixes, shares, marker="o", **look)
            by_tokens.plot(range(1, CONTINUATION + 1), side.come_back, **look)
            by_draws.plot(DRAWS, side.recalls[-1].at_least_once, marker="o", **look)
        by_prefix.set_xticks([recall.prefix for recall in train.recalls])
        by_prefix.set_xlabel("tokens of prefix")
        by_prefix.set_ylabel(f"passages of {CONTINUATION} tokens that come back")
        by_tokens.set_xlabel("tokens that come back, at least")
        by_tokens.set_ylabel("passages")
        by_draws.set_xscale("log")
        by_draws.set_xticks(DRAWS, [f"{n:,}" for n in DRAWS])
        by_draws.set_xlabel("draws at temperature 1")
        by_draws.set_ylabel("passages drawn at least once")
        for axes in (by_prefix, by_tokens, by_draws):
            _shares(axes)
        figure.legend(*by_prefix.get_legend_handles_labels(), loc="outside lower center", ncols=2)
        return svg(figure, None)


def _shares(axes: Axes) -> None:
    axes.set_ylim(-0.03, 1.03)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))


def membership_plot(measured: Membership) -> str:
    """The losses of both sides, and the ROC curve by loss."""
    training, others = np.array(measured.train_losses), np.array(measured.held_out_losses)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
        losses, curve = figure.subplots(1, 2, width_ratios=(1.6, 1))
        bins = np.histogram_bin_edges(np.concatenate([training, others]), 40)
        for values, look in ((training, OWN), (others, OTHER)):
            weights = np.full(len(values), 1 / len(values))
            losses.hist(values, bins, weights=weights, histtype="step", linewidth=1.5, **look)
        losses.set_xlabel(f"loss of a piece of {measured.piece_tokens} tokens (nats a token)")
        losses.set_ylabel("share of the pieces")
        losses.yaxis.set_major_formatter(PercentFormatter(1.0))
        losses.legend()
        curve.plot(*roc(-training, -others), color=COLOURS[3])
        curve.plot((0, 1), (0, 1), color=INK, linewidth=0.8, linestyle=":", label="chance")
        curve.set_xlabel("held-out pieces taken for training text")
        curve.set_ylabel("training pieces found")
        curve.xaxis.set_major_formatter(PercentFormatter(1.0))
        _shares(curve)
        curve.set_xlim(-0.03, 1.03)
        curve.legend(loc="lower right")
        return svg(figure, None)


def capacity_plot(capacity: Capacity) -> str:
    """Bits of the text, bits known of it, and bits that the weights have room for."""
    bars: Sequence[tuple[str, float, str]] = (
        ("room in the weights", capacity.capacity_bits, COLOURS[4]),
        ("the training text", capacity.text_bits, COLOURS[2]),
        ("known of the text", capacity.known_bits, COLOURS[3]),
    )
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1.9), layout="constrained")
        axes = figure.subplots()
        least = max(1.0, min(bits for _, bits, _ in bars if bits > 0) / 10)
        for name, bits, colour in reversed(bars):
            axes.barh(name, max(bits, least), left=0, color=colour, height=0.6)
            axes.annotate(f"{bits:,.0f}", (max(bits, least), name), xytext=(4, 0),
                          textcoords="offset points", va="center")  # fmt: skip
        axes.set_xscale("log")
        axes.set_xlim(least, 30 * max(bits for _, bits, _ in bars))
        axes.set_xlabel("bits, on a logarithmic scale")
        return svg(figure, None)
