"""The best size and tokens for a budget, within the family of a ladder's networks."""

import dataclasses
import math
import statistics
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from minigpt.errors import UserError
from minigpt.model.gpt import GPTConfig, matrix_parameters
from minigpt.reports.scaling_runs import Ladder, LadderRun
from minigpt.statistics.compute_optimal import TokenCost, best_allocation
from minigpt.statistics.scaling_bootstrap import APART, Interval, middle
from minigpt.statistics.scaling_law import ScalingLaw

WIDEST = 4096  # steps of width that a network is looked for in


@dataclass(frozen=True)
class Budget:
    """What may be spent on one run."""

    amount: float
    unit: str  # "flops" or "hours"


@dataclass(frozen=True)
class Advice:
    """The size and tokens for a budget, with the intervals of resampled laws."""

    flops: float
    hours: float | None  # at the speed of the ladder's own runs; None where none logged one
    size: float
    size_interval: Interval
    tokens: float
    tokens_interval: Interval
    passes: float  # over the training text
    loss: float
    loss_interval: Interval
    outside: list[str]  # what lies beyond the runs, so that the advice is an extrapolation


class Adviser:
    """Asks a law for the best use of budgets, within the family of a ladder's networks."""

    def __init__(self, ladder: Ladder, law: ScalingLaw, laws: list[ScalingLaw]) -> None:
        self.ladder, self.law, self.laws = ladder, law, laws
        self.operations = _token_cost(ladder.runs, lambda run: run.flops_per_token)
        timed = [run for run in ladder.runs if run.tokens_per_second > 0]
        self.seconds = _token_cost(timed, lambda run: 1 / run.tokens_per_second) if timed else None

    def by_flops(self, flops: float) -> Advice:
        return self._advice(self.operations, flops)

    def by_hours(self, hours: float) -> Advice:
        if self.seconds is None:
            raise UserError(
                "--hours needs the speed of the runs, and none was long enough to log it "
                "(trainer.log_every_n_steps); give --flops instead"
            )
        return self._advice(self.seconds, 3600 * hours)

    def _advice(self, cost: TokenCost, amount: float) -> Advice:
        unique = self.ladder.unique_tokens
        best = best_allocation(self.law, cost, amount, unique)
        others = [best_allocation(law, cost, amount, unique) for law in self.laws]
        flops = float(self.operations.at(np.array(best.size))) * best.tokens
        hours = None
        if self.seconds is not None:
            hours = float(self.seconds.at(np.array(best.size))) * best.tokens / 3600
        return Advice(
            flops,
            hours,
            best.size, middle([other.size for other in others]),
            best.tokens, middle([other.tokens for other in others]),
            best.passes,
            best.loss, middle([other.loss for other in others]),
            self._outside(flops, best.size, best.tokens),
        )  # fmt: skip

    def _outside(self, flops: float, size: float, tokens: float) -> list[str]:
        """What of an advice is beyond the runs."""
        runs = self.ladder.runs
        figures: list[tuple[str, float, list[float]]] = [
            ("compute", flops, [run.flops for run in runs]),
            ("size", size, [float(run.size) for run in runs]),
            ("tokens", tokens, [float(run.tokens) for run in runs]),
        ]
        sentences = []
        for name, value, of_runs in figures:
            most, least = max(of_runs), min(of_runs)
            if value > APART * most:
                sentences.append(f"{value / most:,.1f} times the largest {name}")
            if value < least / APART:
                sentences.append(f"{value / least:.2f} times the smallest {name}")
        return sentences


def _token_cost(runs: Sequence[LadderRun], cost: Callable[[LadderRun], float]) -> TokenCost:
    """The median cost of a token at each size."""
    by_size = groupby(sorted(runs, key=lambda run: run.size), key=lambda run: run.size)
    medians = {size: statistics.median(map(cost, group)) for size, group in by_size}
    return TokenCost(tuple(medians), tuple(medians.values()))


def nearest_network(runs: Sequence[LadderRun], advice: Advice) -> list[str]:
    """The overrides of the network nearest to an advised size, and of its length.

    It has the depth and the heads of the run nearest in size and another width. The learning rate
    is that run's, less in proportion as the network is wider where the standard parametrization
    is trained with AdamW; other rates do not fall so. Empty where no width fits.
    """
    nearest = min(runs, key=lambda run: abs(math.log(run.size / advice.size)))
    network = nearest.network
    step = 2 * network.n_head  # a head's width is even, as rotary positions need it

    def resized(heads: int) -> GPTConfig:
        return dataclasses.replace(network, n_embd=step * heads)

    widths = range(1, WIDEST)
    try:
        above = bisect_left(widths, advice.size, key=lambda n: matrix_parameters(resized(n)))
        best = min(
            (resized(widths[i]) for i in (max(0, above - 1), min(above, len(widths) - 1))),
            key=lambda shape: abs(math.log(matrix_parameters(shape) / advice.size)),
        )
    except UserError:  # an option of the network that does not suit every width
        return []
    words = [f"model.n_layer={best.n_layer}", f"model.n_head={best.n_head}",
             f"model.n_embd={best.n_embd}"]  # fmt: skip
    if isinstance(nearest.lr, int | float):
        falls = network.parametrization == "standard" and nearest.optimizer == "adamw"
        ratio = network.n_embd / best.n_embd if falls else 1.0
        words.append(f"optimizer.lr={nearest.lr * ratio:.2g}")
    return [*words, f"budget.tokens={advice.tokens:.3g}"]
