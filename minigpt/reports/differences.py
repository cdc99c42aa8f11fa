"""A difference between settings in words: how large it is, and how sure."""

import math
from dataclasses import dataclass

from minigpt.reports.text import number
from minigpt.statistics.difference import LEVEL, Difference
from minigpt.statistics.effects import Effect


@dataclass(frozen=True)
class Measure:
    """A figure of held-out text by which runs are ranked; lower is better."""

    name: str
    unit: str
    form: str  # how it is printed
    less: str
    more: str

    @property
    def title(self) -> str:
        """Of an axis or a column."""
        return self.name if self.name == self.unit else f"{self.name} ({self.unit})"

    def amount(self, value: float) -> str:
        """Its size with the unit: `0.012 nats`."""
        return f"{abs(value):{self.form}} {self.unit}"

    def interval(self, difference: Difference) -> str:
        """The 95% interval of the size of a difference; empty without an error.

        What is below 0 in it are differences in the other direction.
        """
        size, margin = abs(difference.value), difference.margin
        if math.isnan(margin):
            return ""
        return f"{size - margin:{self.form}} to {size + margin:{self.form}}"

    def detectable(self, difference: Difference) -> str:
        """The least difference that would mostly have been seen; empty without an error."""
        return number(difference.detectable, self.form)


NATS = Measure("held-out loss", "nats", ".3f", "lower", "higher")  # a token
BITS = Measure("bits per byte", "bits per byte", ".4f", "fewer", "more")


def effect_sentence(effect: Effect, corrected_p: float, comparisons: int, measure: Measure) -> str:
    """An effect in words; corrected_p: of so many comparisons, NaN where it is not known."""
    difference = effect.difference
    first, *others = map(str, effect.changes)
    also = f" (and {', '.join(others)})" if others else ""
    name = f"{measure.name} " if measure is NATS else ""
    direction = measure.less if difference.value < 0 else measure.more
    interval = measure.interval(difference)
    parts = [
        f"{name}{measure.amount(difference.value)} {direction}"
        + (f" (95% interval {interval})" if interval else ""),
        f"perplexity {effect.perplexity:+.1%}" if measure is NATS else "",
        f"time {effect.seconds:+.0%}",
        f"mean of {effect.pairs} pairs" if effect.pairs > 1 else "",
    ]
    unseen = "no difference seen: " if corrected_p > LEVEL else ""
    sentence = f"{first}{also}: {unseen}{', '.join(filter(None, parts))}; {chance_of(difference)}"
    if math.isnan(corrected_p):
        return f"{sentence}."
    corrected = f" corrected for {comparisons} comparisons" if comparisons > 1 else ""
    return (
        f"{sentence}; {p_value(corrected_p)}{corrected}; "
        f"{measure.amount(difference.detectable)} would mostly have been seen."
    )


def chance_of(difference: Difference) -> str:
    """What the interval counts as chance: `3 seeds, 120 documents`."""
    if math.isnan(difference.stderr):
        return "one seed and no figures of several documents, so chance is not ruled out"
    documents = f"{difference.documents:,} documents" if difference.documents else ""
    if not difference.covers_seeds:
        return f"{documents} and one seed, so the interval does not cover seeds"
    few, many = difference.fewest_seeds, difference.most_seeds
    seeds = f"{many} seeds" if few == many else f"{few} to {many} seeds"
    return ", ".join(filter(None, (seeds, documents)))


def p_value(p: float) -> str:
    """`p < 0.001`, `p = 0.012`; empty where it is not known."""
    return "" if math.isnan(p) else "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
