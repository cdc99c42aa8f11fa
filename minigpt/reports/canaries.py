"""The exposure of planted canaries as a section of a page: sentences, a table and a plot."""

import math

import matplotlib as mpl
from matplotlib.figure import Figure

from minigpt.evaluation.canaries import CanaryExposures
from minigpt.reports.page_section import Section
from minigpt.reports.plots import COLOURS, INK, STYLE, svg
from minigpt.statistics.exposure import CHANCE

COLUMNS = ["copies", "canaries", "exposure by rank", "extrapolated", "likelier than all others"]


def canary_section(result: CanaryExposures) -> Section:
    """What the exposures say, most important first."""
    return Section(
        "Canaries",
        _sentences(result),
        COLUMNS,
        _rows(result),
        plot=_plot(result),
        notes=_notes(result),
    )


def _sentences(result: CanaryExposures) -> list[str]:
    means = {repeats: extrapolated for repeats, (_, extrapolated) in result.means().items()}
    least, most = min(means), max(means)
    copies = {repeats: _copies(repeats) for repeats in (least, most)}
    if len(means) == 1:
        first = f"A random string with {copies[most]} in the training text has an exposure of "
        first += f"{means[most]:.1f} bits."
    else:
        grows = "grows with every step" if result.is_monotone else "does not grow at every step"
        first = (
            f"The exposure of a random string {grows} of repetition: from {means[least]:.1f} bits "
            f"with {copies[least]} in the training text to {means[most]:.1f} with {copies[most]}."
        )
    space = math.log2(result.space)
    return [
        first,
        f"A string that was not planted has {CHANCE:.1f} bits on average; one that is known for "
        f"certain has {space:.1f}, since {result.space:,} strings have this form.",
    ]


def _notes(result: CanaryExposures) -> list[str]:
    ceiling = math.log2(result.references + 1)
    return [
        "Exposure is log2 of all these strings less log2 of the canary's rank among them, the "
        "likeliest first (Carlini et al., 2019). The rank is taken among "
        f"{result.references:,} random ones and ends at {ceiling:.1f} bits. Beyond it the value is "
        "extrapolated with a normal distribution, and is as good as its fit.",
        "It shows how often a text must be repeated to be remembered, for text without any "
        "structure. It cannot show what the network remembers of the rest.",
    ]


def _copies(repeats: int) -> str:
    return "one copy" if repeats == 1 else f"{repeats:,} copies"


def _rows(result: CanaryExposures) -> list[list[str]]:
    rows = []
    for repeats, (sampled, extrapolated) in result.means().items():
        some = [canary for canary in result.canaries if canary.repeats == repeats]
        first = sum(canary.rank == 1 for canary in some)
        cells = [f"{repeats:,}", f"{len(some):,}", f"{sampled:.1f}", f"{extrapolated:.1f}"]
        rows.append([*cells, f"{first:,} of {len(some):,}"])
    return rows


def _plot(result: CanaryExposures) -> str:
    """Exposure over copies: every canary, and the means."""
    means = result.means()
    place = {repeats: i for i, repeats in enumerate(means)}
    ceiling = math.log2(result.references + 1)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        axes = figure.subplots()
        axes.plot(
            [place[canary.repeats] for canary in result.canaries],
            [canary.extrapolated for canary in result.canaries],
            "o", color=COLOURS[0], markersize=4, alpha=0.6, label="a canary, extrapolated",
        )  # fmt: skip
        lines = list(zip(*means.values(), strict=True))
        for values, style, colour, name in (
            (lines[1], "-", COLOURS[0], "mean, extrapolated"),
            (lines[0], "--", COLOURS[3], "mean, by rank"),
        ):
            axes.plot(list(place.values()), values, style, color=colour, label=name)
        for value, name in ((ceiling, "most by rank"), (CHANCE, "not planted")):
            axes.axhline(value, color=INK, linewidth=0.8, linestyle=":")
            axes.annotate(name, (1, value), xycoords=("axes fraction", "data"), xytext=(0, 2),
                          textcoords="offset points", ha="right", fontsize=8)  # fmt: skip
        axes.set_xticks(list(place.values()), [f"{repeats:,}" for repeats in place])
        axes.margins(x=0.1)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("copies in the training text")
        axes.set_ylabel("exposure (bits)")
        axes.legend(loc="upper left")
        return svg(figure, None)
