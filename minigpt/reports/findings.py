"""Findings about a set of runs, as sentences with figures."""

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from minigpt.model.loss import perplexity
from minigpt.reports.compared_runs import ComparedRun, differing_keys, ranked
from minigpt.runs.summary import Status
from minigpt.statistics.effects import (
    Effect,
    Group,
    Observation,
    effects,
    group_by_settings,
    seed_deviation,
)
from minigpt.statistics.spread import pooled_deviation


def findings(runs: Sequence[ComparedRun]) -> list[str]:
    """Sentences, the most important first."""
    keys = [key for key in differing_keys(runs) if key != "seed"]
    groups = group_by_settings(
        [
            Observation(
                {key: run.settings.get(key) for key in keys},
                run.settings.get("seed"),
                run.val_loss,
                run.summary.wall_seconds,
            )
            for run in runs
            if run.is_finished and not math.isnan(run.val_loss)
        ]
    )
    deviation = seed_deviation(groups)
    best_loss = min((group.mean_loss for group in groups), default=math.nan)
    sentences = [*_best(runs), *_chance(groups)]
    sentences += [effect_sentence(e, deviation, best_loss) for e in effects(groups, keys)]
    sentences += [*_stability(runs), *_generalisation(runs), *_fairness(runs)]
    sentences += [
        f"{run.name} {run.summary.status}: {run.summary.reason or 'no reason given'}"
        for run in runs
        if not run.is_finished
    ]
    return sentences


def _best(runs: Sequence[ComparedRun]) -> list[str]:
    best = ranked(runs)[0]
    if not best.is_finished or math.isnan(best.val_loss):
        return []
    return [
        f"Best: {best.name}, held-out loss {best.val_loss:.3f} "
        f"(perplexity {perplexity(best.val_loss):,.1f})."
    ]


def _chance(groups: Sequence[Group]) -> list[str]:
    several = [group for group in groups if len(group.losses) > 1]
    if not several:
        return []
    widest = max(several, key=lambda group: statistics.stdev(group.losses))
    settings = ", ".join(f"{key}={value}" for key, value in widest.settings.items())
    return [
        f"Chance: over {len(widest.losses)} seeds the same settings' held-out loss has a standard "
        f"deviation of {pooled_deviation([g.losses for g in several]):.3f} nats (at most "
        f"{statistics.stdev(widest.losses):.3f}, {settings or 'all alike'})."
    ]


def effect_sentence(effect: Effect, deviation: float, best_loss: float) -> str:
    """An effect in words; deviation: of the loss over seeds, NaN where there is one seed."""
    first, *others = map(str, effect.changes)
    also = f" (and {', '.join(others)})" if others else ""
    marginal = "marginal: " if effect.is_marginal(deviation, best_loss) else ""
    direction = "lower" if effect.loss < 0 else "higher"
    mean = f", mean of {effect.pairs} pairs" if effect.pairs > 1 else ""
    if math.isnan(deviation):
        chance = "one seed, so chance is not ruled out"
    else:
        chance = f"chance alone moves it by {deviation:.3f}"
    return (
        f"{first}{also}: {marginal}held-out loss {abs(effect.loss):.3f} nats {direction}, "
        f"perplexity {effect.perplexity:+.1%}, time {effect.seconds:+.0%}{mean}; {chance}."
    )


def _stability(runs: Sequence[ComparedRun]) -> list[str]:
    """The runs that diverged, the largest rise of a training loss, the largest gradient norm."""
    diverged = [run.name for run in runs if run.summary.status is Status.DIVERGED]
    rises, peaks = [], []
    for run in runs:
        losses = [value for *_, value in run.series("train/loss")]
        rises += [(after - before, run.name) for before, after in pairwise(losses)]
        norms = [value for *_, value in run.series("grad_norm")]
        if norms:
            median = statistics.median(norms)
            peaks.append((max(norms) / median if median else 1.0, max(norms), run.name))
    if not rises or not peaks:
        return [f"Diverged: {', '.join(diverged)}."] if diverged else []
    rise, riser = max(rises)
    ratio, peak, peaker = max(peaks)
    word = f"Diverged: {', '.join(diverged)}" if diverged else "Nothing diverged"
    return [
        f"{word}: the largest rise of the training loss between two logged steps is "
        f"{max(rise, 0):.2f} nats ({riser}), the largest gradient norm {peak:.1f}, "
        f"{ratio:.0f} times its run's median ({peaker})."
    ]


def _generalisation(runs: Sequence[ComparedRun]) -> list[str]:
    gaps = [(run.gap, run.name) for run in runs if not math.isnan(run.gap)]
    if not gaps:
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
