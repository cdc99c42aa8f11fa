"""The page of transfer.json: where the best learning rates lie, and the coordinate check."""

import math
from typing import Any

from results import markdown_table

NAMES = ("standard", "mup")
BATCH, CONTEXT, BASE_WIDTH = 16, 64, 128
CHECK_RATE = 1e-3  # of the coordinate check, which has no warm-up: far above, chance decides
SAME = math.sqrt(2) * 1.01  # rates that differ by less are neighbours on the finest grid, or equal


def curves(figures: dict[str, Any]) -> list[Any]:
    """The stored losses as the report's curves, a run that diverged at the loss of an untrained."""
    from minigpt.reports.learning_rates import RateCurve

    initial = math.log(figures["vocabulary"])
    return [
        RateCurve(
            {"model.parametrization": name, "model.n_embd": str(width)},
            {
                seed: {
                    float(rate): initial if loss is None else min(loss, initial)
                    for rate, loss in by_rate.items()
                }
                for seed, by_rate in figures["losses"][name][str(width)].items()
            },
            initial,
        )
        for name in NAMES
        for width in sorted(figures["widths"])
    ]


def movement(figures: dict[str, Any]) -> dict[str, float]:
    """Parametrization -> the highest best rate over the lowest."""
    rates: dict[str, list[float]] = {name: [] for name in NAMES}
    for curve in curves(figures):
        rates[curve.settings["model.parametrization"]].append(curve.best.rate)
    return {name: max(values) / min(values) for name, values in rates.items()}


def rate_or_width(figures: dict[str, Any], name: str) -> str:
    """What twice the width gains at the best rates, beside what a neighbouring rate costs."""
    mine = [c for c in curves(figures) if c.settings["model.parametrization"] == name]
    best = {int(curve.settings["model.n_embd"]): curve.best.loss for curve in mine}
    narrow, wide = min(best), max(best)
    gain = (best[narrow] - best[wide]) / math.log2(wide / narrow)
    costs = [
        loss - curve.best.loss
        for curve in mine
        for rate, loss in curve.losses.items()
        if math.isclose(abs(math.log2(rate / curve.best.rate)), 0.5)
    ]
    direction = "lowers" if gain > 0 else "raises"
    return (
        f"Under `{name}` twice the width, each at its best rate, {direction} the loss by "
        f"{abs(gain):.3f} nats; a rate a factor of sqrt 2 from the best raises it by "
        f"{sum(costs) / len(costs):.3f} on average."
    )


def page(figures: dict[str, Any]) -> str:
    """The page."""
    from minigpt.reports.learning_rates import NOTE, findings, rate_table

    columns, rows = rate_table(curves(figures))
    check_columns = ["parametrization", *figures["check"]["mup"][0]]
    check_rows = [
        [name, *row]
        for name in NAMES
        for row in figures["check"][name][1]
        if row[1] == "change"
    ]  # fmt: skip
    moved = movement(figures)
    verdict = "is the same to a factor of sqrt 2" if moved["mup"] < SAME else "moves"
    seeds = f"{figures['seeds']} seed{'s' if figures['seeds'] > 1 else ''}"
    listed = "\n".join(f"- {sentence}" for sentence in findings(curves(figures)))
    checked = "\n".join(f"- {sentence}" for sentence in figures["check_summary"])
    command = " ".join(["python benchmarks/transfer.py", *figures["overrides"]])
    return f"""# Does a narrow network's learning rate suit a wide one?

From width {min(figures["widths"])} to {max(figures["widths"])} the best learning rate {verdict}
under `mup` (a factor of {moved["mup"]:.2g} from the lowest to the highest), and moves by a factor
of {moved["standard"]:.2g} under `standard`.

`{command}` on {figures["machine"]}: {figures["steps"]:,} steps of {BATCH} x
{CONTEXT} characters of Python's standard library, 2 blocks of 4 heads, a vocabulary of
{figures["vocabulary"]:,}, {seeds}. {figures["rates"]} rates spaced by 2, further ones where the
best was at an edge, then those a factor of sqrt 2 from the best; it took
{figures["search_seconds"] / 60:.0f} minutes, {figures["jobs"]} at a time. At width {BASE_WIDTH}
both parametrizations are the same network, which was trained once.

![Held-out loss over the learning rate](transfer.svg)

{table(columns, rows)}

{listed}

Learning rate or width? {rate_or_width(figures, "standard")} {rate_or_width(figures, "mup")}

{NOTE} Here the rates near the best are closer to each other than the others are.

## Coordinate check

The mean absolute change of activations after {figures["check_steps"]} steps at a learning rate of
{CHECK_RATE:g} ({figures["check_seconds"]:.0f} s):

{checked}

![Change of activations over the width](transfer_coordinates.svg)

{table(check_columns, check_rows)}

[transfer.md](../transfer.md) explains both.
"""


def table(columns: list[str], rows: list[list[str]]) -> str:
    return markdown_table([columns, ["---"] + ["---:"] * (len(columns) - 1), *rows])


def plot(figures: dict[str, Any]) -> str:
    """The losses over the learning rates, a panel for each parametrization."""
    from minigpt.reports.learning_rates import rate_plot

    return rate_plot(curves(figures), ink="#444444")
