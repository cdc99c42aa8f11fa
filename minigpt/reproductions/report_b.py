"""Report B: a baseline, half its learning rate, and twice its width, two epochs on web text."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from minigpt.model.loss import perplexity
from minigpt.reports.compared_runs import ComparedRun
from minigpt.reports.reproduction import Section
from minigpt.reports.text import number
from minigpt.runs.summary import Status, Summary


@dataclass(frozen=True)
class Published:
    """A run of the report; the loss is the training loss at the end, in nats a token."""

    parameters: int
    loss: float
    hours: float


RUNS = {
    "baseline": Published(13_278_976, 5.0772, 4.2),
    "lower_lr": Published(13_278_976, 5.0670, 4.3),
    "wider": Published(27_344_384, 4.8460, 6.9),
}
COLUMNS = ["run", "training loss", "perplexity", "time, baseline = 1", "report's loss",
           "report's perplexity", "report's time, baseline = 1"]  # fmt: skip
NOTE = "The report trained two epochs of 316,593,536 tokens from the web and had no held-out text."


class ReportB:
    """Shows its table and findings beside runs of the same names and sizes."""

    def epoch_losses(self, summary: Summary) -> dict[int, float] | None:
        return None  # it gives no loss by epoch

    def section(self, runs: Sequence[ComparedRun]) -> Section | None:
        matches = matching_runs(runs)
        if not matches:
            return None
        rows = [_row(name, run, matches.get("baseline")) for name, run in matches.items()]
        return Section("Beside report B", COLUMNS, rows, findings(matches), NOTE)


def matching_runs(runs: Sequence[ComparedRun]) -> dict[str, ComparedRun]:
    """The first run of each of the report's names that has its number of parameters."""
    matches = {}
    for name, published in RUNS.items():
        for run in runs:
            if run.experiment == name and run.parameters == published.parameters:
                matches[name] = run
                break
    return matches


def _row(name: str, run: ComparedRun, baseline: ComparedRun | None) -> list[str]:
    published = RUNS[name]
    both = baseline is not None and baseline.is_finished and run.is_finished
    seconds = baseline.summary.wall_seconds if baseline else math.nan
    return [
        run.name,
        number(run.train_loss, ".4f"),
        number(perplexity(run.train_loss), ",.2f"),
        number(run.summary.wall_seconds / seconds, ".2f") if both else "",
        f"{published.loss:.4f}",
        f"{perplexity(published.loss):,.2f}",
        f"{published.hours / RUNS['baseline'].hours:.2f}",
    ]


def findings(matches: dict[str, ComparedRun]) -> list[str]:
    """Each finding of the report and whether it holds here; [] unless all three runs finished."""
    runs = {name: run for name, run in matches.items() if run.is_finished}
    if runs.keys() != RUNS.keys():
        return []
    base, lower, wide = (runs[name] for name in RUNS)
    rate = lower.train_loss - base.train_loss
    rate_held_out = lower.val_loss - base.val_loss
    width = math.expm1(wide.train_loss - lower.train_loss)
    width_held_out = math.expm1(wide.val_loss - lower.val_loss)
    time = wide.summary.wall_seconds / lower.summary.wall_seconds - 1
    published_time = RUNS["wider"].hours / RUNS["lower_lr"].hours - 1
    diverged = any(run.summary.status is Status.DIVERGED for run in matches.values())
    held = {True: "held", False: "did not hold"}
    return [
        f"The lower learning rate is marginally better: {held[-0.05 < rate < 0]} (training loss "
        f"{rate:+.3f} nats, held-out {rate_held_out:+.3f}; the report -0.010).",
        f"Doubling the width cuts perplexity by about 20%: {held[-0.27 < width < -0.13]} (training "
        f"{width:+.1%}, held-out {width_held_out:+.1%}; the report -19.8%).",
        f"... and costs about 60% more time: {held[0.4 < time < 0.8]} ({time:+.0%}; the report "
        f"{published_time:+.0%}).",
        f"Nothing diverges: {held[not diverged]}.",
    ]
