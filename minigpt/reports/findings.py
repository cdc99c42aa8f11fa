"""Findings about a set of runs, as sentences with figures."""

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from minigpt.reports.best_runs import best_sentences, label
from minigpt.reports.comparable import Comparable, comparable
from minigpt.reports.compared_runs import ComparedRun
from minigpt.reports.differences import NATS, Measure, effect_sentence
from minigpt.reports.differing_keys import differing_keys
from minigpt.runs.summary import Status
from minigpt.statistics.effects import Group, Observation, effects, group_by_settings
from minigpt.statistics.holm import holm
from minigpt.statistics.spread import pooled_deviation


def findings(runs: Sequence[ComparedRun]) -> list[str]:
    """Sentences, the most important first."""
    among = comparable(runs)
    groups = comparable_groups(runs, among)
    measure = among.measure
    sentences = _best(runs, groups, among)
    sentences += [*among.remarks, *_chance(groups, measure)]
    sentences += _effects(groups, differing_keys(runs), measure)
    sentences += [*_stability(runs), *_generalisation(runs, measure), *_fairness(runs)]
    sentences += [
        f"{run.name} {run.summary.status}: {run.summary.reason or 'no reason given'}"
        for run in runs
        if not run.is_finished
    ]
    return sentences


def _best(runs: Sequence[ComparedRun], groups: Sequence[Group], among: Comparable) -> list[str]:
    if len(among.ranked) < 2 <= sum(run.is_finished for run in runs):
        return []  # a run that cannot be ranked beside another is the best of nothing
    return best_sentences(groups, among.measure)


def comparable_groups(runs: Sequence[ComparedRun], among: Comparable) -> list[Group]:
    """The runs that may be ranked, grouped by the settings in which any runs differ."""
    keys = [key for key in differing_keys(runs) if key != "seed"]
    return group_by_settings(
        [
            Observation(
                settings={key: each.run.settings.get(key) for key in keys},
                seed=each.run.settings.get("seed"),
                figure=each.figure,
                seconds=each.run.summary.wall_seconds,
                influence=each.influence,
                name=each.run.name,
            )
            for each in among.ranked
        ]
    )


def _chance(groups: Sequence[Group], measure: Measure) -> list[str]:
    several = [group for group in groups if len(group.figures) > 1]
    if not several:
        return []
    widest = max(several, key=lambda group: statistics.stdev(group.figures))
    pooled = pooled_deviation([group.figures for group in several])
    seeds = len(widest.figures)
    return [
        f"Chance: over {seeds} seeds the same settings differ by a standard deviation of "
        f"{measure.amount(pooled)} (at most "
        f"{measure.amount(statistics.stdev(widest.figures))}, {label(widest)})."
    ]


def _effects(groups: Sequence[Group], keys: Sequence[str], measure: Measure) -> list[str]:
    """Each effect in words, corrected for all of them."""
    measured = effects(groups, [key for key in keys if key != "seed"])
    corrected = holm([effect.difference.p for effect in measured])
    known = [p for p in corrected if not math.isnan(p)]
    return [
        effect_sentence(effect, p, len(known), measure)
        for effect, p in zip(measured, corrected, strict=True)
    ]


def _stability(runs: Sequence[ComparedRun]) -> list[str]:
    """The runs that diverged, the largest rise of a training loss, the largest gradient norm."""
    diverged = [run.name for run in runs if run.summary.status is Status.DIVERGED]
    altered = [
        f"Not trained as configured, since numbers were not finite: {run.name} "
        f"({run.summary.outcome})."
        for run in runs
        if run.summary.skipped_steps or run.summary.rewinds
    ]
    rises, peaks = [], []
    for run in runs:
        losses = [value for *_, value in run.series("train/loss")]
        rises += [(after - before, run.name) for before, after in pairwise(losses)]
        # Not those of steps that were skipped since they are not finite.
        norms = [value for *_, value in run.series("grad_norm") if math.isfinite(value)]
        if norms:
            median = statistics.median(norms)
            peaks.append((max(norms) / median if median else 1.0, max(norms), run.name))
    if not rises or not peaks:
        return [f"Diverged: {', '.join(diverged)}.", *altered] if diverged else altered
    rise, riser = max(rises)
    ratio, peak, peaker = max(peaks)
    word = f"Diverged: {', '.join(diverged)}" if diverged else "Nothing diverged"
    return [
        f"{word}: the largest rise of the training loss between two logged steps is "
        f"{max(rise, 0):.2f} nats ({riser}), the largest gradient norm {peak:.1f}, "
        f"{ratio:.0f} times its run's median ({peaker}).",
        *altered,
    ]


def _generalisation(runs: Sequence[ComparedRun], measure: Measure) -> list[str]:
    gaps = [(run.gap, run.name) for run in runs if not math.isnan(run.gap)]
    if not gaps or measure is not NATS:
        return []
    title = "Generalisation gap (held-out less training loss at the end)"
    (low, lowest), (high, highest) = min(gaps), max(gaps)
    if len(gaps) == 1:
        return [f"{title}: {low:+.2f} nats."]
    return [f"{title}: from {low:+.2f} nats ({lowest}) to {high:+.2f} ({highest})."]


def _fairness(runs: Sequence[ComparedRun]) -> list[str]:
    """Whether the finished runs used the same number of tokens or the same compute."""
    finished = [run for run in runs if run.is_finished and run.flops > 0]
    if len(finished) < 2:
        return []
    tokens = [run.summary.tokens_seen for run in finished]
    flops = [run.flops for run in finished]
    ratios = {"tokens": max(tokens) / min(tokens), "flops": max(flops) / min(flops)}
    tokens_word, compute_word = (
        f"the same {word}" if ratio < 1.02 else f"up to {ratio:.1f} times the {word}"
        for word, ratio in (("tokens", ratios["tokens"]), ("compute", ratios["flops"]))
    )
    unequal = f"the runs had {tokens_word} and {compute_word}"
    for kind, ratio in ratios.items():
        budgets = {run.settings.get(f"budget.{kind}", "null") for run in finished}
        if budgets == {"null"}:
            continue
        if len(budgets) == 1 and ratio < 1.05:
            return [
                f"Fair by budget.{kind}={float(budgets.pop()):g}: every run was given the same, to "
                f"within {ratio - 1:.1%}."
            ]
        return [f"Not given the same: budget.{kind} was {_listed(budgets)}; {unequal}."]
    if max(ratios.values()) < 1.02:
        return [f"Fair: {unequal}."]
    return [f"No budget was set: {unequal} (budget.tokens or budget.flops makes them equal)."]


def _listed(values: set[Any]) -> str:
    return ", ".join(sorted(map(str, values)))
