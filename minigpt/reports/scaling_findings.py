"""What a scaling law says, as sentences with figures."""

from minigpt.reports.plots import amount
from minigpt.reports.scaling_advice import Advice
from minigpt.reports.scaling_study import HeldBack, Scaling
from minigpt.reports.text import operations
from minigpt.statistics.scaling_bootstrap import Interval

UNSURE = 0.05  # share of resampled laws that do not fall, above which it is said
NO_FLOOR = 0.05  # share of the lowest loss; E below it is as good as none


def subtitle(scaling: Scaling) -> str:
    """What was fitted."""
    runs = scaling.ladder.runs
    sizes, lengths = len({run.size for run in runs}), len({run.tokens for run in runs})
    seeds = len({str(run.seed) for run in runs})
    return (
        f"{len(runs)} runs of {sizes} sizes, {lengths} lengths and {seeds} "
        f"seed{'s' if seeds > 1 else ''}, on {scaling.ladder.unique_tokens:,} tokens of text"
    )


def verdict(scaling: Scaling) -> str:
    """The advice for the budget that was asked for, else for that of the largest run."""
    advice = scaling.asked or scaling.table[2]
    of = "" if scaling.asked else ", as the largest run has"
    return (
        f"For {operations(advice.flops)} operations{_hours(advice)}{of}: {amount(advice.size)} "
        f"parameters in matrix products and {amount(advice.tokens)} tokens, for a held-out loss of "
        f"about {advice.loss:.3f}."
    )


def reasons(scaling: Scaling) -> list[str]:
    """What the advice rests on, most important first."""
    advice = scaling.asked or scaling.table[2]
    lines = [
        f"95 of 100 resamples advise {size_range(advice.size_interval)} parameters and "
        f"{size_range(advice.tokens_interval)} tokens, and predict a loss of "
        f"{plain_range(advice.loss_interval, '.3f')}."
    ]
    if advice.outside:
        lines.append(f"This is an extrapolation: {', '.join(advice.outside)} of the ladder.")
    if advice.passes > 1:
        lines.append(
            f"It reads the text {advice.passes:.1f} times; more text would serve better than more "
            "passes."
        )
    if scaling.overrides:
        lines.append(f"The nearest network of this family: {' '.join(scaling.overrides)}")
    exponent = scaling.intervals["size_exponent"]
    lines.append(
        f"The best size grows as compute^{scaling.law.size_exponent:.2f} "
        f"({plain_range(exponent, '.2f')}), the tokens as "
        f"compute^{1 - scaling.law.size_exponent:.2f}."
    )
    lines.append(
        held_back_sentence(scaling.held_back)
        if scaling.held_back
        else "No prediction was tried: the runs without the largest give no law, they are too "
        "few, or their losses do not fall with size and tokens."
    )
    lines.append(f"The law misses its own runs by {scaling.deviation:.3f} nats.")
    lowest = min(run.loss for run in scaling.ladder.runs)
    if scaling.law.E / lowest < NO_FLOOR:
        lines.append(
            "E is near 0, and no text can be predicted that well: these runs are too small or too "
            "short to tell where the loss ends, so trust no advice far from them."
        )
    rising = 1 - len(scaling.laws) / scaling.resamples
    if rising > UNSURE:
        lines.append(
            f"In {rising:.0%} of the resamples the loss does not fall with size and tokens. The "
            "advice and all intervals leave them out: these runs hardly tell the two apart."
        )
    seeds = len({str(run.seed) for run in scaling.ladder.runs})
    if seeds == 1:
        lines.append("All runs have one seed, so the intervals do not cover what a seed changes.")
    lines.append(
        "Hours are those of training, at the speed that the runs logged on "
        f"{', '.join(scaling.ladder.devices)}; another machine has another."
    )
    return [*lines, *scaling.ladder.notes]


def held_back_sentence(held_back: HeldBack) -> str:
    """How far a prediction was off."""
    names = held_back.runs[0] if len(held_back.runs) == 1 else f"{len(held_back.runs)} runs"
    return (
        f"Tried: without {names}, {held_back.times:.1f} times the compute of the largest other "
        f"run, the law predicts {held_back.predicted:.3f} "
        f"({plain_range(held_back.predicted_interval, '.3f')}). Measured: "
        f"{held_back.measured:.3f}, so the prediction is off by {held_back.error:+.3f} nats."
    )


def _hours(advice: Advice) -> str:
    return "" if advice.hours is None else f" ({advice.hours:.2g} hours)"


def size_range(interval: Interval) -> str:
    """Such as 1.2M to 3M."""
    return f"{amount(interval.low)} to {amount(interval.high)}"


def plain_range(interval: Interval, form: str) -> str:
    """Both ends in a format."""
    return f"{interval.low:{form}} to {interval.high:{form}}"
