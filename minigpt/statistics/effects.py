"""Effects of settings: what a key changes between runs that are otherwise the same."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

from minigpt.statistics.spread import pooled_deviation

# Without several seeds, a change smaller than this share of the best loss is called marginal.
MARGINAL_SHARE = 0.01

LARGEST_EXPONENT = 709  # of e, in float64

# Keys that only ever change together are left out if they make more changes than these.
MOST_TOGETHER = 4


@dataclass(frozen=True)
class Observation:
    """One finished run: the settings in which runs differ, its seed, and its figures."""

    settings: dict[str, Any]  # without the seed
    seed: Any
    loss: float  # best held-out loss, in nats a token
    seconds: float


@dataclass(frozen=True)
class Group:
    """Observations that differ in their seed alone."""

    settings: dict[str, Any]
    observations: list[Observation]

    @property
    def losses(self) -> list[float]:
        return [observation.loss for observation in self.observations]

    @property
    def mean_loss(self) -> float:
        return statistics.fmean(self.losses)

    @property
    def mean_seconds(self) -> float:
        return statistics.fmean(observation.seconds for observation in self.observations)


def group_by_settings(observations: Sequence[Observation]) -> list[Group]:
    """Groups of the same settings; a seed that comes twice in a group counts once.

    The same run in another sweep or folder says nothing about chance.
    """
    groups: dict[tuple[str, ...], Group] = {}
    for observation in observations:
        key = tuple(map(str, observation.settings.values()))
        group = groups.setdefault(key, Group(observation.settings, []))
        if all(observation.seed != other.seed for other in group.observations):
            group.observations.append(observation)
    return list(groups.values())


def seed_deviation(groups: Sequence[Group]) -> float:
    """Pooled standard deviation of the loss over seeds; NaN without a group of two seeds."""
    return pooled_deviation([group.losses for group in groups])


@dataclass(frozen=True)
class Change:
    """The change of a key from one value to another."""

    key: str
    low: Any
    high: Any

    def __str__(self) -> str:
        return f"{self.key} {self.low} to {self.high}"


@dataclass(frozen=True)
class Effect:
    """The effect of a change: the mean over all pairs of groups that differ only in it."""

    changes: list[Change]  # several where these keys only ever changed together
    pairs: int
    loss: float  # nats, the second group minus the first
    seconds: float  # as a share of the first group's

    @property
    def perplexity(self) -> float:
        """The change of perplexity, as a share of the first group's."""
        return math.expm1(self.loss) if self.loss < LARGEST_EXPONENT else math.inf

    def is_marginal(self, deviation: float, best_loss: float) -> bool:
        """True if chance may explain the effect: it is below two standard deviations over seeds.

        Where there is one seed (deviation is NaN), if it is below 1% of the best loss.
        """
        if math.isnan(deviation):
            return abs(self.loss) < MARGINAL_SHARE * best_loss
        return abs(self.loss) < 2 * deviation


def effects(groups: Sequence[Group], keys: Sequence[str]) -> list[Effect]:
    """The effect of each key between its neighbouring values, all other settings being equal.

    A key that never changes alone is reported with the keys that change with it, unless there are
    more than MOST_TOGETHER such changes, as in a random search.
    """
    reported: set[frozenset[str]] = set()
    all_effects: list[Effect] = []
    for key in keys:
        for changed in sorted(_smallest_changes(key, groups) - reported, key=sorted):
            reported.add(changed)
            of_these = _between_neighbours(key, changed, groups)
            if len(changed) == 1 or len(of_these) <= MOST_TOGETHER:
                all_effects += of_these
    return all_effects


def _smallest_changes(key: str, groups: Sequence[Group]) -> set[frozenset[str]]:
    """The smallest sets of keys, this one among them, in which any two groups differ."""
    sets = {
        frozenset(k for k in a.settings if a.settings[k] != b.settings[k])
        for a, b in combinations(groups, 2)
        if a.settings.get(key) != b.settings.get(key)
    }
    smallest = min(map(len, sets), default=0)
    return {keys for keys in sets if len(keys) == smallest}


def _between_neighbours(key: str, changed: frozenset[str], groups: Sequence[Group]) -> list[Effect]:
    """Effects from each value of a key to the next, all keys but `changed` being the same."""
    cells: dict[tuple[str, ...], dict[Any, list[Group]]] = {}
    for group in groups:
        rest = tuple(str(value) for k, value in group.settings.items() if k not in changed)
        cells.setdefault(rest, {}).setdefault(group.settings.get(key), []).append(group)
    steps: dict[str, tuple[list[Change], list[tuple[Group, Group]]]] = {}
    for cell in cells.values():
        for low, high in pairwise(sorted(cell, key=_order)):
            if len(cell[low]) > 1 or len(cell[high]) > 1:
                continue  # several groups have this value: which to pair is not clear
            pair = cell[low][0], cell[high][0]
            changes = [
                Change(k, pair[0].settings[k], pair[1].settings[k])
                for k in (key, *sorted(changed - {key}))
                if pair[0].settings[k] != pair[1].settings[k]
            ]
            steps.setdefault(str(changes), (changes, []))[1].append(pair)
    return [_mean_effect(changes, pairs) for changes, pairs in steps.values()]


def _mean_effect(changes: list[Change], pairs: list[tuple[Group, Group]]) -> Effect:
    loss = statistics.fmean(b.mean_loss - a.mean_loss for a, b in pairs)
    seconds = statistics.fmean(b.mean_seconds / a.mean_seconds - 1 for a, b in pairs)
    return Effect(changes, len(pairs), loss, seconds)


def _order(value: Any) -> tuple[int, float, str]:
    """Numbers by size, then everything else by its text."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return (0, float(value), "") if is_number else (1, 0.0, str(value))
