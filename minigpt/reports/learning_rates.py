"""What a sweep of learning rates says: the best one, what it costs to miss it, whether it moves."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from minigpt.reports.compared_runs import ComparedRun
from minigpt.reports.differing_keys import differing_keys
from minigpt.reports.learning_rates_plot import Curve, learning_rates_plot
from minigpt.reports.reproduction import Section
from minigpt.reports.text import setting
from minigpt.runs.summary import Status
from minigpt.statistics.lr_sensitivity import BestRate, best_rate, lr_sensitivity

RATE, WIDTH = "optimizer.lr", "model.n_embd"
LEAST = 3  # rates that make a curve
COLUMNS = ["best rate", "between rates", "loss there", "sensitivity", "rates tried", "seeds"]
NOTE = (
    "Losses are held-out, mean over the seeds. A run that diverged or ended worse counts as ln V, "
    "about the loss of an untrained network. Between rates: the lowest point of a parabola "
    "through the best rate and its neighbours. Sensitivity (Wortsman et al., 2023) is the mean "
    "over the rates of the loss less that of the best rate, in nats: 0 if the rate did not matter. "
    "Compare it between settings with the same rates."
)


@dataclass(frozen=True)
class RateCurve:
    """The losses over the learning rates of runs that are alike in all else but the seed."""

    settings: dict[str, str]  # in which curves differ
    by_seed: dict[Any, dict[float, float]]  # seed -> rate -> held-out loss, at most the initial one
    initial_loss: float

    @property
    def losses(self) -> dict[float, float]:
        """Rate -> mean over the seeds that have it."""
        by_rate: dict[float, list[float]] = {}
        for losses in self.by_seed.values():
            for rate, loss in losses.items():
                by_rate.setdefault(rate, []).append(loss)
        return {rate: statistics.fmean(by_rate[rate]) for rate in sorted(by_rate)}

    @property
    def best(self) -> BestRate:
        return best_rate(self.losses)


def learning_rate_section(runs: Sequence[ComparedRun]) -> Section | None:
    """The table, plot and findings; None where no setting has three learning rates."""
    curves = rate_curves(runs)
    if not curves:
        return None
    columns, rows = rate_table(curves)
    return Section("Learning rates", columns, rows, findings(curves), NOTE, rate_plot(curves))


def rate_table(curves: Sequence[RateCurve]) -> tuple[list[str], list[list[str]]]:
    """Column names, and the cells of each curve."""
    keys = list(curves[0].settings)
    columns = [*(key.rpartition(".")[2] for key in keys), *COLUMNS]
    rows = [_row(curve) for curve in curves]
    return (columns, rows) if keys else (["runs", *columns], [["all", *row] for row in rows])


def rate_plot(curves: Sequence[RateCurve], ink: str | None = None) -> str:
    """The losses over the rates as SVG; "" where there are too many curves to read."""
    return learning_rates_plot(
        [Curve(*_panel_and_label(c.settings), c.losses, c.best.rate) for c in curves], ink
    )


def rate_curves(runs: Sequence[ComparedRun]) -> list[RateCurve]:
    """The curves of three rates or more, by their settings."""
    keys = [key for key in differing_keys(runs) if key not in (RATE, "seed")]
    keys.sort(key=lambda key: key == WIDTH)
    curves: dict[tuple[str, ...], RateCurve] = {}
    for run in runs:
        loss, rate = _capped_loss(run), run.settings.get(RATE)
        if loss is None or not isinstance(rate, int | float):
            continue
        values = tuple(setting(run.settings.get(key)) for key in keys)
        settings = dict(zip(keys, values, strict=True))
        curve = curves.setdefault(values, RateCurve(settings, {}, _initial_loss(run)))
        curve.by_seed.setdefault(run.settings.get("seed"), {})[float(rate)] = loss
    kept = [curve for curve in curves.values() if len(curve.losses) >= LEAST]
    return sorted(kept, key=lambda curve: [*map(_order, curve.settings.values())])


def findings(curves: Sequence[RateCurve]) -> list[str]:
    """Whether the best rate moves with the width, which setting is least sensitive, and chance."""
    sentences = []
    by_rest: dict[tuple[tuple[str, str], ...], list[RateCurve]] = {}
    for curve in curves:
        rest = tuple((key, value) for key, value in curve.settings.items() if key != WIDTH)
        by_rest.setdefault(rest, []).append(curve)
    for rest, family in by_rest.items():
        if WIDTH in family[0].settings and len(family) > 1:
            sentences.append(_movement(rest, family))
    if any(curve.best.at_edge for curve in curves):
        sentences.append(
            "A best rate that is the lowest or the highest tried is marked with *: the optimum may "
            "lie beyond; try more rates there."
        )
    if all(len(curve.by_seed) == 1 for curve in curves):
        sentences.append("One seed: how far chance moves the best rate is not covered.")
    return sentences


def _movement(rest: tuple[tuple[str, str], ...], family: Sequence[RateCurve]) -> str:
    best = [curve.best for curve in family]
    rates = [b.rate for b in best]
    refined = [b.between for b in best]
    name = ", ".join(f"{key}={value}" for key, value in rest)
    widths = ", ".join(curve.settings[WIDTH] for curve in family)
    sensitivity = statistics.fmean(lr_sensitivity(c.losses, c.initial_loss) for c in family)
    return (
        f"{name + ': a' if name else 'A'}t widths {widths} the best rate is "
        f"{', '.join(map(_starred, best))}, a factor of {max(rates) / min(rates):.2g} from the "
        f"lowest to the highest ({max(refined) / min(refined):.2g} between rates); mean "
        f"sensitivity {sensitivity:.3f} nats."
    )


def _starred(best: BestRate) -> str:
    return f"{best.rate:.3g}{'*' if best.at_edge else ''}"


def _row(curve: RateCurve) -> list[str]:
    best, rates = curve.best, list(curve.losses)
    seeds = len(curve.by_seed)
    chosen = sorted({best_rate(losses).rate for losses in curve.by_seed.values()})
    spread = f"{seeds}: {chosen[0]:.3g} to {chosen[-1]:.3g}" if len(chosen) > 1 else f"{seeds}"
    return [
        *curve.settings.values(),
        _starred(best),
        f"{best.between:.3g}",
        f"{best.loss:.4f}",
        f"{lr_sensitivity(curve.losses, curve.initial_loss):.4f}",
        f"{len(rates)}: {rates[0]:.3g} to {rates[-1]:.3g}",
        spread,
    ]


def _capped_loss(run: ComparedRun) -> float | None:
    """The best held-out loss, at most the initial one; None for a run that says nothing yet."""
    if run.summary.status is Status.DIVERGED:
        return _initial_loss(run)
    if not run.is_finished or math.isnan(run.val_loss):
        return None
    return min(run.val_loss, _initial_loss(run))


def _initial_loss(run: ComparedRun) -> float:
    """About the loss of a new network, which knows nothing: ln V."""
    return math.log(run.summary.vocab_size) if run.summary.vocab_size else math.inf


def _panel_and_label(settings: dict[str, str]) -> tuple[str, str]:
    """Curves over the width share a panel; without widths all do."""
    if WIDTH not in settings:
        return "", ", ".join(f"{key.rpartition('.')[2]}={v}" for key, v in settings.items())
    rest = [f"{key.rpartition('.')[2]}={v}" for key, v in settings.items() if key != WIDTH]
    return ", ".join(rest), f"width {settings[WIDTH]}"


def _order(value: str) -> tuple[int, float, str]:
    try:
        return 0, float(value), ""
    except ValueError:
        return 1, 0.0, value
