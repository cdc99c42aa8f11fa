"""Synthetic runs of known truth: how often the report's test, and others, call them different."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from results import markdown_table

from minigpt.statistics.best import standings
from minigpt.statistics.difference import LEVEL, Repeats, mean_difference
from minigpt.statistics.ratio import influence

PLANTED = 0.01  # nats a token
DRAWS = 1000  # of the bootstrap
SEEDS = (2, 3, 5)


@dataclass(frozen=True)
class Truth:
    """What makes the figures of synthetic runs; deviations in nats a token."""

    documents: int = 400
    tokens: float = 300.0  # median of a document
    spread: float = 1.0  # deviation of the logarithm of that
    hardness: float = 0.7  # deviation between documents
    seed: float = 0.002  # between seeds, on any text
    fit: float = 0.02  # of a seed's fit to a document
    setting: float = 0.02  # of the fit of a planted change to a document

    def sizes(self, rng: np.random.Generator) -> NDArray[np.float64]:
        return np.ceil(self.tokens * np.exp(self.spread * rng.normal(size=self.documents)))


@dataclass(frozen=True)
class Runs:
    """K runs of one setting on D documents."""

    nats: NDArray[np.float64]  # (K, D)
    sizes: NDArray[np.float64]  # (D)

    @property
    def repeats(self) -> Repeats:
        values = self.nats.sum(1) / self.sizes.sum()
        return Repeats(values, np.stack([influence(row, self.sizes) for row in self.nats]))


def simulate(
    truth: Truth,
    rng: np.random.Generator,
    seeds: int,
    shifts: tuple[float, ...],
    wider: float = 1.0,
) -> list[Runs]:
    """A setting for each shift of the mean loss, on the same documents.

    wider: how many times as far apart the seeds of the first setting are.
    """
    sizes, hardness = truth.sizes(rng), 4 + truth.hardness * rng.normal(size=truth.documents)
    settings = []
    for number, shift in enumerate(shifts):
        deviation = truth.seed * (1.0 if number else wider)
        loss = (
            hardness
            + shift
            + (truth.setting * rng.normal(size=truth.documents) if shift else 0)
            + deviation * rng.normal(size=(seeds, 1))
            + truth.fit * rng.normal(size=(seeds, truth.documents))
        )
        settings.append(Runs(loss * sizes, sizes))
    return settings


def this_test(a: Runs, b: Runs) -> bool:
    return mean_difference([(a.repeats, b.repeats)]).p <= LEVEL


def twice_the_deviation(a: Runs, b: Runs) -> bool:
    """What the report called more than marginal before."""
    low, high = a.repeats.values, b.repeats.values
    deviation = math.sqrt((low.var(ddof=1) + high.var(ddof=1)) / 2)
    return abs(high.mean() - low.mean()) >= 2 * deviation


class Bootstrap:
    """The percentile interval of a hierarchical bootstrap, over seeds and documents."""

    def __init__(self, documents: int, rng: np.random.Generator) -> None:
        self.rng = rng
        self.weights = rng.multinomial(documents, [1 / documents] * documents, DRAWS)  # (S, D)

    def __call__(self, a: Runs, b: Runs) -> bool:
        total = self.weights @ a.sizes  # (S)
        means = [self._mean(side, total) for side in (a, b)]
        low, high = np.quantile(means[1] - means[0], [LEVEL / 2, 1 - LEVEL / 2])
        return bool(low > 0 or high < 0)

    def _mean(self, side: Runs, total: NDArray[np.float64]) -> NDArray[np.float64]:
        values = self.weights @ side.nats.T / total[:, None]  # (S, K)
        seeds = len(side.nats)
        drawn = self.rng.integers(0, seeds, (DRAWS, seeds))
        return np.take_along_axis(values, drawn, 1).mean(1)


Test = Callable[[Runs, Runs], bool]


def rates(truth: Truth, seeds: int, shift: float, pairs: int, tests: list[Test]) -> list[float]:
    """How many of 100 pairs each test calls different."""
    rng = np.random.default_rng([seeds, int(1e6 * shift), int(1e6 * truth.seed)])
    called = np.zeros(len(tests))
    for _ in range(pairs):
        a, b = simulate(truth, rng, seeds, (0.0, -shift))
        called += [test(a, b) for test in tests]
    return (100 * called / pairs).tolist()


def calibration(truth: Truth, pairs: int) -> str:
    bootstrap = Bootstrap(truth.documents, np.random.default_rng(1))
    rows = [["seeds differ", "seeds of each setting", "this test", "hierarchical bootstrap",
             "twice the deviation of seeds"], ["---"] + ["---:"] * 4]  # fmt: skip
    kinds = {
        "on any text, and in their fit to a document": truth,
        "on any text": replace(truth, fit=0),
    }
    for name, kind in kinds.items():
        for seeds in SEEDS:
            called = rates(kind, seeds, 0.0, pairs, [this_test, bootstrap, twice_the_deviation])
            rows.append([name, str(seeds), *(f"{rate:.1f}" for rate in called)])
    return markdown_table(rows)


def hundreds(truth: Truth, pairs: int) -> str:
    """How many of each hundred equal pairs of three seeds are called different."""
    rng = np.random.default_rng(2)
    called = [this_test(*simulate(truth, rng, 3, (0.0, 0.0))) for _ in range(pairs // 100 * 100)]
    return ", ".join(str(sum(called[i : i + 100])) for i in range(0, min(len(called), 1000), 100))


def coverage(truth: Truth, seeds: int, pairs: int) -> float:
    """Of 100 95% intervals, those that hold a planted difference."""
    rng = np.random.default_rng(seeds)
    held = 0
    for _ in range(pairs):
        a, b = simulate(truth, rng, seeds, (0.0, -PLANTED))
        difference = mean_difference([(a.repeats, b.repeats)])
        held += abs(difference.value + PLANTED) <= difference.margin
    return 100 * held / pairs


def power(truth: Truth, pairs: int) -> tuple[str, float]:
    """Planted differences that are found, by the deviation of seeds; and for the truth's own."""
    rows = [["deviation of seeds", f"{PLANTED} nats found, of 100",
             "least difference it claims to see, median"], ["---:"] * 3]  # fmt: skip
    of_truth = math.nan
    for deviation in (0.001, 0.002, 0.003, 0.004, 0.006):
        at = replace(truth, seed=deviation)
        (rate,) = rates(at, 3, PLANTED, pairs, [this_test])
        rng = np.random.default_rng(3)
        least = []
        for _ in range(min(pairs, 300)):
            a, b = simulate(at, rng, 3, (0.0, -PLANTED))
            least.append(mean_difference([(a.repeats, b.repeats)]).detectable)
        rows.append([f"{deviation:.3f}", f"{rate:.0f}", f"{np.median(least):.4f}"])
        if deviation == truth.seed:
            of_truth = rate
    return markdown_table(rows), of_truth


def hard_cases(truth: Truth, pairs: int) -> str:
    rows = [["case", "wrong, of 100"], ["---", "---:"]]
    (one,) = rates(truth, 1, 0.0, pairs, [this_test])
    rows.append(["equal settings, one seed each: the error over documents alone", f"{one:.1f}"])
    rng = np.random.default_rng(4)
    called = 0
    for _ in range(pairs):
        called += this_test(*simulate(truth, rng, 3, (0.0, 0.0), wider=3))
    rows.append(["equal means, one setting with three times the deviation over seeds",
                 f"{100 * called / pairs:.1f}"])  # fmt: skip
    sweeps, left_out, any_left_out = max(pairs // 10, 10), 0, 0
    for _ in range(sweeps):
        settings = [side.repeats for side in simulate(truth, rng, 3, (0.0,) * 10)]
        worse = {place.index for place in standings(settings) if place.is_worse}
        left_out += 0 in worse
        any_left_out += bool(worse)
    rows.append(["ten equal settings: a given one is called worse than the best",
                 f"{100 * left_out / sweeps:.1f}"])  # fmt: skip
    rows.append(["ten equal settings: any is called worse than the best",
                 f"{100 * any_left_out / sweeps:.1f}"])  # fmt: skip
    return markdown_table(rows)
