"""What each setting did: the difference that a key makes between runs that are otherwise alike."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

from minigpt.model.loss import perplexity
from minigpt.reports.compared_runs import Run

# A change of held-out loss smaller than this share of it is called marginal where no seeds say
# how far chance goes.
MARGINAL = 0.01

# Changes of keys that never came apart, above which none is told.
MOST_TOGETHER = 4


@dataclass
class Group:
    """Runs that differ in their seed alone."""

    settings: dict[str, Any]  # of the differing keys but the seed
    runs: list[Run]

    def mean(self, figure: str) -> float:
        return statistics.fmean(getattr(run, figure) for run in self.runs)

    @property
    def spread(self) -> float:
        """Standard deviation of the best held-out loss over seeds; NaN for a single one."""
        if len(self.runs) < 2:
            return math.nan
        return statistics.stdev(run.val_loss for run in self.runs)


def groups(runs: Sequence[Run], keys: Sequence[str]) -> list[Group]:
    """Finished runs with a held-out loss, by the given keys, which leave out the seed."""
    found: dict[tuple[Any, ...], Group] = {}
    for run in runs:
        if run.status == "finished" and not math.isnan(run.val_loss):
            settings = {key: run.config.get(key) for key in keys}
            group = found.setdefault(tuple(map(str, settings.values())), Group(settings, []))
            # The same run again, from another sweep or folder, says nothing of chance.
            if all(run.config.get("seed") != other.config.get("seed") for other in group.runs):
                group.runs.append(run)
    return list(found.values())


def chance(together: Sequence[Group]) -> float:
    """How far the seed alone moves a held-out loss: the pooled standard deviation, or NaN."""
    several = [group for group in together if len(group.runs) > 1]
    if not several:
        return math.nan
    freedom = sum(len(group.runs) - 1 for group in several)
    return math.sqrt(sum(g.spread**2 * (len(g.runs) - 1) for g in several) / freedom)


@dataclass
class Change:
    """A key that went from one value to another."""

    key: str
    low: Any
    high: Any

    def __str__(self) -> str:
        return f"{self.key} {self.low} to {self.high}"


@dataclass
class Effect:
    """What a change did, mean over the pairs of groups that differ in it alone."""

    changes: list[Change]  # more than one where they never came apart
    pairs: int
    loss: float  # nats, the second less the first
    perplexity: float  # as a share of the first
    seconds: float

    def sentence(self, noise: float, least: float) -> str:
        """noise: nats by which chance moves a loss, or NaN; least: the best loss of all."""
        better = "lower" if self.loss < 0 else "higher"
        if not math.isnan(noise):
            # Two means of several seeds each differ by chance by about this much.
            marginal = abs(self.loss) < 2 * noise
            why = f"; chance alone moves it by {noise:.3f}"
        else:
            marginal = abs(self.loss) < MARGINAL * least
            why = "; one seed, so chance is not ruled out"
        first, *others = map(str, self.changes)
        also = f" (and {', '.join(others)})" if others else ""
        word = "marginal: " if marginal else ""
        mean = f", mean of {self.pairs} pairs" if self.pairs > 1 else ""
        return (
            f"{first}{also}: {word}held-out loss "
            f"{abs(self.loss):.3f} nats {better}, perplexity {self.perplexity:+.1%}, time "
            f"{self.seconds:+.0%}{mean}{why}."
        )


def effects(together: Sequence[Group], keys: Sequence[str]) -> list[Effect]:
    """The effects of each key between its neighbouring values, all other settings being equal.

    A key that never changed alone is taken with those that it changed with, as the width and the
    batch size in report B. Where more came together in more ways than anyone would read, as in a
    random search, nothing is said.
    """
    found: list[Effect] = []
    told: set[frozenset[str]] = set()
    for key in keys:
        for free in sorted(_least_changes(key, together) - told, key=sorted):
            told.add(free)
            between = _between_neighbours(key, free, together)
            if len(free) == 1 or len(between) <= MOST_TOGETHER:
                found += between
    return found


def _least_changes(key: str, together: Sequence[Group]) -> set[frozenset[str]]:
    """The smallest sets of keys, with this one, in which any two groups differ."""
    sets = {
        frozenset(k for k in a.settings if a.settings[k] != b.settings[k])
        for a, b in combinations(together, 2)
        if a.settings.get(key) != b.settings.get(key)
    }
    least = min(map(len, sets), default=0)
    return {found for found in sets if len(found) == least}


def _between_neighbours(key: str, free: frozenset[str], together: Sequence[Group]) -> list[Effect]:
    """From each value of a key to the next, within groups alike in all but the free keys."""
    cells: dict[tuple[str, ...], dict[Any, list[Group]]] = {}
    for group in together:
        rest = tuple(str(value) for k, value in group.settings.items() if k not in free)
        cells.setdefault(rest, {}).setdefault(group.settings.get(key), []).append(group)
    steps: dict[str, tuple[list[Change], list[tuple[Group, Group]]]] = {}
    for cell in cells.values():
        for low, high in pairwise(sorted(cell, key=_order)):
            if len(cell[low]) > 1 or len(cell[high]) > 1:
                continue  # it is not clear what to pair
            pair = cell[low][0], cell[high][0]
            changes = [
                Change(k, pair[0].settings[k], pair[1].settings[k])
                for k in (key, *sorted(free - {key}))
                if pair[0].settings[k] != pair[1].settings[k]
            ]
            steps.setdefault(str(changes), (changes, []))[1].append(pair)
    return [_mean_effect(changes, pairs) for changes, pairs in steps.values()]


def _mean_effect(changes: list[Change], pairs: list[tuple[Group, Group]]) -> Effect:
    loss = statistics.fmean(b.mean("val_loss") - a.mean("val_loss") for a, b in pairs)
    seconds = statistics.fmean(b.mean("seconds") / a.mean("seconds") - 1 for a, b in pairs)
    return Effect(changes, len(pairs), loss, perplexity(loss) - 1, seconds)


def _order(value: Any) -> tuple[int, float, str]:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return (0, float(value), "") if number else (1, 0.0, str(value))
