"""What a ladder of runs says about size and tokens: a law, its intervals, and advice."""

import dataclasses
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigpt.errors import UserError
from minigpt.reports.scaling_advice import Advice, Adviser, Budget, nearest_network
from minigpt.reports.scaling_runs import Ladder, LadderRun, to_fit
from minigpt.statistics.compute_optimal import TokenCost
from minigpt.statistics.scaling_bootstrap import (
    APART,
    Interval,
    bootstrap_laws,
    interval,
    is_enough,
)
from minigpt.statistics.scaling_fit import fit_law
from minigpt.statistics.scaling_law import ScalingLaw

RESAMPLES = 500
SEED = 0  # of the resamples
FAR = 4.0  # times the largest run: the last row of the table


@dataclass(frozen=True)
class HeldBack:
    """The prediction for the largest runs by the law of all others."""

    runs: list[str]
    times: float  # their compute, over that of the largest fitted run
    predicted: float
    predicted_interval: Interval
    measured: float  # mean over the seeds

    @property
    def error(self) -> float:
        """Predicted less measured, in nats a token."""
        return self.predicted - self.measured


@dataclass(frozen=True)
class Scaling:
    """A ladder, the law of its runs, and what follows from it."""

    ladder: Ladder
    law: ScalingLaw
    laws: list[ScalingLaw]  # of the resamples in which the loss falls with size and tokens
    resamples: int  # in all
    operations: TokenCost  # that a token costs at each size
    deviation: float  # of measured from fitted losses, in nats, over the degrees of freedom
    held_back: HeldBack | None  # None where the runs that would be left give no law
    table: list[Advice]  # over the range of the ladder
    asked: Advice | None
    overrides: list[str]  # of the network nearest to the advised size

    @property
    def intervals(self) -> dict[str, Interval]:
        figures: dict[str, Callable[[ScalingLaw], float]] = {
            "E": lambda law: law.E,
            "A": lambda law: law.A,
            "alpha": lambda law: law.alpha,
            "B": lambda law: law.B,
            "beta": lambda law: law.beta,
            "size_exponent": lambda law: law.size_exponent,
        }
        return {name: interval(self.laws, figure) for name, figure in figures.items()}

    def to_dict(self) -> dict[str, Any]:
        """All figures as plain values."""
        runs = [
            {
                "name": run.name, "size": run.size, "tokens": run.tokens,
                "effective_tokens": run.effective_tokens, "flops": run.flops,
                "loss": run.loss, "fitted": self.fitted(run), "seed": run.seed,
            }
            for run in self.ladder.runs
        ]  # fmt: skip
        held_back = self.held_back
        return {
            "law": {**dataclasses.asdict(self.law), "size_exponent": self.law.size_exponent},
            "intervals": {k: dataclasses.asdict(v) for k, v in self.intervals.items()},
            "deviation": self.deviation,
            "runs": runs,
            "held_back": held_back and {**dataclasses.asdict(held_back), "error": held_back.error},
            "table": [dataclasses.asdict(advice) for advice in self.table],
            "asked": self.asked and dataclasses.asdict(self.asked),
            "overrides": self.overrides,
            "resamples": self.resamples,
            "resamples_that_fall": len(self.laws),
            "unique_tokens": self.ladder.unique_tokens,
            "left_out": self.ladder.left_out,
            "notes": self.ladder.notes,
        }

    def fitted(self, run: LadderRun) -> float:
        """The loss that the law gives a run."""
        return float(self.law.loss(np.array(float(run.size)), np.array(run.effective_tokens)))


def study(ladder: Ladder, budget: Budget | None = None) -> Scaling:
    """Fit a law to a ladder and ask it for advice; budget: None asks for the table only.

    Raises UserError where the losses do not fall with size and tokens, or hours are asked for and
    no run was long enough to log its speed.
    """
    runs = ladder.figures
    law = fit_law(runs)
    if not law.falls:
        raise UserError(
            "the held-out loss of these runs does not fall with size and tokens "
            f"(alpha={law.alpha:.2f}, beta={law.beta:.2f}), so no size can be advised; look at the "
            "runs with minigpt compare: a learning rate may not suit its size"
        )
    seeds = [str(run.seed) for run in ladder.runs]
    resampled = bootstrap_laws(runs, seeds, law, RESAMPLES, SEED)
    laws = [other for other in resampled if other.falls]
    if not laws:
        raise UserError(
            f"in none of {RESAMPLES} resamples of these runs does the held-out loss fall with size "
            "and tokens, so no size can be advised; train more sizes, lengths or seeds"
        )
    residuals = runs.losses - law.loss(runs.sizes, runs.tokens)
    advise = Adviser(ladder, law, laws)
    operations = [run.flops for run in ladder.runs]
    low, high = min(operations), max(operations)
    table = [advise.by_flops(f) for f in (low, math.sqrt(low * high), high, FAR * high)]
    asked = None
    if budget is not None:
        asked = (
            advise.by_hours(budget.amount)
            if budget.unit == "hours"
            else advise.by_flops(budget.amount)
        )
    return Scaling(
        ladder, law, laws, RESAMPLES, advise.operations,
        math.sqrt(float((residuals**2).sum()) / max(1, len(residuals) - 5)),
        hold_back(ladder.runs), table, asked, nearest_network(ladder.runs, asked or table[2]),
    )  # fmt: skip


def hold_back(runs: Sequence[LadderRun]) -> HeldBack | None:
    """Predict the runs with the most operations from all others.

    As for the advice, only laws in which the loss falls with size and tokens count.
    """
    most = max(run.flops for run in runs)
    largest = [run for run in runs if run.flops > most / APART]
    others = [run for run in runs if run.flops <= most / APART]
    if not is_enough(to_fit(others)):
        return None
    law = fit_law(to_fit(others))
    seeds = [str(run.seed) for run in others]
    resampled = bootstrap_laws(to_fit(others), seeds, law, RESAMPLES, SEED)
    laws = [each for each in resampled if each.falls]
    if not (law.falls and laws):
        return None
    sizes, tokens = to_fit(largest).sizes, to_fit(largest).tokens

    def predicted(of: ScalingLaw) -> float:
        return float(of.loss(sizes, tokens).mean())

    return HeldBack(
        [run.name for run in largest],
        most / max(run.flops for run in others),
        predicted(law), interval(laws, predicted),
        statistics.fmean(run.loss for run in largest),
    )  # fmt: skip
