"""What a set of runs says, in words with figures."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from minigpt.model.loss import perplexity
from minigpt.reports.compared_runs import Run, differing, ranked
from minigpt.reports.effects import Group, chance, effects, groups


def findings(runs: Sequence[Run]) -> list[str]:
    """Sentences, the most important first."""
    settings = [key for key in differing(runs) if key != "seed"]
    together = groups(runs, settings)
    said = []
    best = ranked(runs)[0]
    if best.status == "finished" and not math.isnan(best.val_loss):
        said.append(
            f"Best: {best.name}, held-out loss {best.val_loss:.3f} "
            f"(perplexity {perplexity(best.val_loss):,.1f})."
        )
    said += _spread(together)
    noise = chance(together)
    least = min((group.mean("val_loss") for group in together), default=math.nan)
    said += [effect.sentence(noise, least) for effect in effects(together, settings)]
    said.append(_stability(runs))
    said += _generalisation(runs)
    said += _fairness(runs)
    said += [f"{run.name} {run.status}: {run.reason or 'no reason given'}" for run in runs
             if run.status != "finished"]  # fmt: skip
    return said


def _spread(together: Sequence[Group]) -> list[str]:
    several = [group for group in together if len(group.runs) > 1]
    if not several:
        return []
    widest = max(several, key=lambda group: group.spread)
    return [
        f"Chance: over {len(widest.runs)} seeds the same settings' held-out loss has a standard "
        f"deviation of {chance(together):.3f} nats (at most {widest.spread:.3f}, "
        f"{_settings(widest.settings)})."
    ]


def _stability(runs: Sequence[Run]) -> str:
    """The largest rise of the logged training loss, and the largest gradient norm."""
    jumps, peaks = [], []
    for run in runs:
        losses = [value for *_, value in run.series("train/loss")]
        jumps += [(b - a, run.name) for a, b in pairwise(losses)]
        norms = [value for *_, value in run.series("grad_norm")]
        if norms:
            usual = statistics.median(norms)
            peaks.append((max(norms) / usual if usual else 1.0, max(norms), run.name))
    diverged = [run.name for run in runs if run.status == "diverged"]
    word = f"Diverged: {', '.join(diverged)}." if diverged else "Nothing diverged"
    if not jumps or not peaks:
        return f"{word.rstrip('.')}."
    jump, jumper = max(jumps)
    ratio, peak, peaker = max(peaks)
    return (
        f"{word.rstrip('.')}: the largest rise of the training loss between two logged steps is "
        f"{max(jump, 0):.2f} nats ({jumper}), the largest gradient norm {peak:.1f}, "
        f"{ratio:.0f} times its run's median ({peaker})."
    )


def _generalisation(runs: Sequence[Run]) -> list[str]:
    gaps = [(run.gap, run.name) for run in runs if not math.isnan(run.gap)]
    if not gaps:
        return []
    (low, lowest), (high, highest) = min(gaps), max(gaps)
    if len(gaps) == 1:
        return [f"Generalisation gap (held-out less training loss at the end): {low:+.2f} nats."]
    return [
        f"Generalisation gap (held-out less training loss at the end): from {low:+.2f} nats "
        f"({lowest}) to {high:+.2f} ({highest})."
    ]


def _fairness(runs: Sequence[Run]) -> list[str]:
    """Whether the finished runs were given the same."""
    finished = [run for run in runs if run.status == "finished" and run.flops > 0]
    if len(finished) < 2:
        return []
    budgets = {
        kind: {run.config.get(f"budget.{kind}", "null") for run in finished}
        for kind in ("tokens", "flops")
    }
    tokens = [run.tokens for run in finished]
    flops = [run.flops for run in finished]
    ratio = max(tokens) / min(tokens)
    same = "the same tokens" if ratio < 1.02 else f"up to {ratio:.1f} times the tokens"
    compute = max(flops) / min(flops)
    unequal = f"the runs had {same} and up to {compute:.1f} times the compute of each other"
    for kind, given in budgets.items():
        spent = ratio if kind == "tokens" else compute
        if given != {"null"} and len(given) == 1 and spent < 1.05:
            value = float(given.pop())
            return [
                f"Fair by budget.{kind}={value:g}: every run was given the same, to within "
                f"{spent - 1:.1%}."
            ]
        if given != {"null"}:
            return [f"Not given the same: budget.{kind} was {_listed(given)}; {unequal}."]
    return [f"No budget was set: {unequal} (budget.tokens or budget.flops makes them equal)."]


def _listed(values: set[Any]) -> str:
    return ", ".join(sorted(map(str, values)))


def _settings(settings: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in settings.items()) or "all alike"


# Report B's own figures, printed beside the runs of the same name and size.
REPORT_B = {
    "baseline": {"parameters": 13_278_976, "loss": 5.0772, "hours": 4.2},
    "lower_lr": {"parameters": 13_278_976, "loss": 5.0670, "hours": 4.3},
    "wider": {"parameters": 27_344_384, "loss": 4.8460, "hours": 6.9},
}


@dataclass
class ReportRow:
    """One of report B's runs beside the one made here."""

    run: Run
    loss: float
    hours: float


def beside_report_b(runs: Sequence[Run]) -> list[ReportRow]:
    """Where the experiments match: the report's name and its number of parameters."""
    found = []
    for name, theirs in REPORT_B.items():
        for run in runs:
            if run.experiment == name and run.parameters == theirs["parameters"]:
                found.append(ReportRow(run, theirs["loss"], theirs["hours"]))
                break
    return found


def report_b_findings(rows: Sequence[ReportRow]) -> list[str]:
    """Each of the report's findings, and whether it held here, where all three runs are there."""
    runs = {row.run.experiment: row.run for row in rows if row.run.status == "finished"}
    if runs.keys() != REPORT_B.keys():
        return []
    base, lower, wide = (runs[name] for name in REPORT_B)
    by_lr = lower.train_loss - base.train_loss
    ppl = math.exp(wide.train_loss - lower.train_loss) - 1
    held_ppl = math.exp(wide.val_loss - lower.val_loss) - 1
    slower = wide.seconds / lower.seconds - 1
    by_lr_held_out = lower.val_loss - base.val_loss
    held = {True: "held", False: "did not hold"}
    return [
        f"The lower learning rate is marginally better: {held[-0.05 < by_lr < 0]} (training loss "
        f"{by_lr:+.3f} nats, held-out {by_lr_held_out:+.3f}; the report -0.010).",
        f"Doubling the width cuts perplexity by about 20%: {held[-0.27 < ppl < -0.13]} (training "
        f"{ppl:+.1%}, held-out {held_ppl:+.1%}; the report -19.8%).",
        f"... and costs about 60% more time: {held[0.4 < slower < 0.8]} ({slower:+.0%}; the report "
        f"{6.9 / 4.3 - 1:+.0%}).",
        f"Nothing diverges: {held[not any('the loss is' in run.reason for run in runs.values())]}.",
    ]
