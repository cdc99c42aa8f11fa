"""Effects of settings: what a key changes between runs that are otherwise the same.

Shapes: D documents.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, pairwise
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from minigpt.statistics.difference import Difference, Repeats, mean_difference

LARGEST_EXPONENT = 709  # of e, in float64

# Keys that only ever change together are left out if they make more changes than these.
MOST_TOGETHER = 4


@dataclass(frozen=True)
class Observation:
    """One finished run: the settings in which runs differ, its seed, and its figures."""

    settings: dict[str, Any]  # without the seed
    seed: Any
    figure: float  # held-out, lower is better: nats a token, or bits per byte
    seconds: float
    influence: Float[ndarray, "D"] | None = None  # of the documents on the figure
    name: str = ""


@dataclass(frozen=True)
class Group:
    """Observations that differ in their seed alone."""

    settings: dict[str, Any]
    observations: list[Observation]

    @property
    def names(self) -> list[str]:
        return [observation.name for observation in self.observations]

    @property
    def figures(self) -> list[float]:
        return [observation.figure for observation in self.observations]

    @cached_property
    def repeats(self) -> Repeats:
        influences = [observation.influence for observation in self.observations]
        known = [influence for influence in influences if influence is not None]
        all_known = len(known) == len(influences)
        return Repeats(np.array(self.figures), np.stack(known) if all_known else None)

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
    difference: Difference  # of the figure, the second group less the first
    seconds: float  # as a share of the first group's

    @property
    def perplexity(self) -> float:
        """The change of perplexity, as a share of the first group's; of figures in nats a token."""
        nats = self.difference.value
        return math.expm1(nats) if nats < LARGEST_EXPONENT else math.inf


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
    difference = mean_difference([(a.repeats, b.repeats) for a, b in pairs])
    seconds = statistics.fmean(b.mean_seconds / a.mean_seconds - 1 for a, b in pairs)
    return Effect(changes, len(pairs), difference, seconds)


def _order(value: Any) -> tuple[int, float, str]:
    """Numbers by size, then everything else by its text."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return (0, float(value), "") if is_number else (1, 0.0, str(value))
