"""Which settings are best: all that are not told apart from the lowest, in words and as a table."""

import math
from collections.abc import Sequence
from typing import Any

from minigpt.model.loss import perplexity
from minigpt.reports.differences import NATS, Measure, chance_of, p_value
from minigpt.reports.reproduction import Section
from minigpt.reports.text import finite, setting
from minigpt.statistics.best import Standing, standings
from minigpt.statistics.effects import Group

NOTE = (
    "A setting is a set of runs that differ in their seed alone. Each is compared with the lowest"
    " mean, document by document where the figures of documents are known; docs/comparison.md "
    "says how. p is the chance of so large a difference between equal settings, corrected for all"
    " rows (Holm); at 0.05 or less a setting is called worse. The lowest is chosen from the same "
    "figures, so that of ten equal settings one is called worse in 1 sweep of 10, not of 20. The "
    "interval is not corrected. The last column is the least difference that 4 of 5 such "
    "comparisons would see at a level of 5%: a smaller one may be there unseen."
)


def best_sentences(groups: Sequence[Group], measure: Measure) -> list[str]:
    """The best setting, those that are not told apart from it, and what could have been seen."""
    if not groups:
        return []
    first, *others = standings([group.repeats for group in groups])
    best = f"Best: {_with_figure(groups[first.index], measure)}."
    if not others:
        return [best]
    known = [place for place in others if not math.isnan(place.corrected_p)]
    one_seed = [p for p in known if p.difference and not p.difference.covers_seeds]
    chance = "chance over documents" if len(one_seed) == len(known) else "chance"
    if not known:
        return [
            f"{best} Whether the others are worse is not known: with one seed, and without figures "
            "of several documents, nothing says how far chance goes."
        ]
    tied = [label(groups[place.index]) for place in others if not place.is_worse]
    count = f"corrected for {len(known)} comparison{'s' if len(known) > 1 else ''}"
    if tied:
        worse = len(others) - len(tied)
        verb = "other is" if worse == 1 else "others are"
        rest = f"; {worse} {verb} worse by more than {chance}" if worse else ""
        verdict = f"Not told apart from the best: {', '.join(tied)} ({count}){rest}."
    else:
        verdict = f"Nothing else is as good: all others are worse by more than {chance} ({count})."
    sentences = [best, verdict, *_reach(known, measure)]
    if one_seed:
        trained = (
            "each setting was trained with one"
            if len(one_seed) == len(others)
            else "the best was trained with one, and so were "
            + ", ".join(label(groups[place.index]) for place in one_seed)
        )
        sentences.append(
            f"Seeds are not covered: {trained}, and another seed may change the order "
            "(seed=1,2,3 trains three)."
        )
    return sentences


def _reach(places: Sequence[Standing], measure: Measure) -> list[str]:
    """The least difference from the best that would mostly have been seen: the median of theirs."""
    differences = [place.difference for place in places if place.difference is not None]
    differences = [each for each in differences if each.covers_seeds] or differences
    differences.sort(key=lambda difference: difference.detectable)
    typical = differences[len(differences) // 2]
    return [
        f"A setting that is {measure.amount(typical.detectable)} worse than the best would mostly "
        f"have been seen, a smaller difference may be there unseen ({chance_of(typical)})."
    ]


def standings_section(groups: Sequence[Group], measure: Measure) -> Section | None:
    """Each setting beside the best; None where there is one setting, or nothing tells of chance."""
    if len(groups) < 2:
        return None
    places = standings([group.repeats for group in groups])
    if all(math.isnan(place.corrected_p) for place in places):
        return None
    columns = ["setting", "seeds", measure.title, "above the lowest", "95% interval",
               "p, corrected", "verdict", "would be seen"]  # fmt: skip
    rows = [_row(groups[place.index], place, measure) for place in places]
    return Section("Which settings are best", columns, rows, [], NOTE)


def _row(group: Group, place: Standing, measure: Measure) -> list[str]:
    cells = [label(group), str(len(group.figures)), f"{group.repeats.mean:{measure.form}}"]
    difference = place.difference
    if difference is None:
        return [*cells, "", "", "", "lowest", ""]
    worse = "worse" if difference.covers_seeds else "worse, for this seed"
    return [
        *cells,
        f"{difference.value:{measure.form}}",
        measure.interval(difference),
        p_value(place.corrected_p).removeprefix("p ").removeprefix("= "),
        worse if place.is_worse else "not told apart",
        measure.detectable(difference),
    ]


def standing_figures(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Each setting beside the lowest, for a script; a figure that is not known is None."""
    places = standings([group.repeats for group in groups]) if groups else []
    return [_figures(groups[place.index], place) for place in places]


def _figures(group: Group, place: Standing) -> dict[str, Any]:
    difference = place.difference
    return {
        "runs": group.names,
        "settings": group.settings,
        "mean": group.repeats.mean,
        "difference": difference and difference.value,
        "margin": difference and finite(difference.margin),
        "detectable": difference and finite(difference.detectable),
        "covers_seeds": difference and difference.covers_seeds,
        "documents": difference and difference.documents,
        "corrected_p": finite(place.corrected_p),
        "is_worse": place.is_worse,
    }


def label(group: Group) -> str:
    """The run's name; of several runs the settings in which they differ from others."""
    if len(group.names) == 1:
        return group.names[0]
    settings = ", ".join(
        f"{key.rpartition('.')[2]}={setting(value)}" for key, value in group.settings.items()
    )
    return settings or ", ".join(group.names)


def _with_figure(group: Group, measure: Measure) -> str:
    mean, seeds = group.repeats.mean, len(group.figures)
    figure = f"{measure.name} {mean:{measure.form}}"
    if measure is NATS:
        figure += f" (perplexity {perplexity(mean):,.1f})"
    return f"{label(group)}, {figure}" + (f", mean of {seeds} seeds" if seeds > 1 else "")
