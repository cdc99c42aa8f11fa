"""Which runs a scaling law can be fitted to, and what weakens the fit."""

import math
from collections.abc import Sequence
from typing import Any

from minigpt.errors import UserError
from minigpt.reports.compared_runs import ComparedRun
from minigpt.reports.differing_keys import differing_keys
from minigpt.statistics.scaling_bootstrap import (
    LEAST_BUDGETS,
    LEAST_RUNS,
    LEAST_SIZES,
    count_apart,
    is_enough,
)
from minigpt.statistics.scaling_law import Runs

# What the runs of a ladder may differ in: their size, their length, and what suits these.
OF_A_LADDER = ("model.n_layer", "model.n_head", "model.n_embd", "model.mlp_ratio", "optimizer.lr",
               "scheduler.warmup_steps", "budget.", "trainer.max_epochs", "trainer.max_steps",
               "trainer.val_check_interval", "data.batch_size", "seed")  # fmt: skip


def unusable(run: ComparedRun) -> str | None:
    """Why a run cannot be fitted; None if it can."""
    if not run.is_finished:
        return f"{run.summary.status.value}: {run.summary.reason or 'no reason given'}"
    if run.network is None:
        return "another version of minigpt wrote its shape"
    if run.settings.get("model.from") not in (None, "null"):
        return "it started from other weights (model.from)"
    if run.summary.data is None or run.summary.tokenizer is None:
        return "its summary does not name its text"
    final = run.summary.final
    if final is None or final.val_loss is None or not math.isfinite(final.val_loss):
        return "it has no held-out loss at its end"
    return None


def check_same_tokens(named: str, runs: Sequence[ComparedRun]) -> None:
    """Raise UserError where runs were trained on different text or in different tokens."""
    texts: dict[Any, ComparedRun] = {}
    for run in runs:
        assert run.summary.data is not None
        assert run.summary.tokenizer is not None
        texts.setdefault((run.summary.data.fingerprint, run.summary.tokenizer.fingerprint), run)
    if len(texts) > 1:
        some = "; ".join(
            f"{run.name}: {run.summary.data.source} in tokens of {run.summary.tokenizer.name}"
            for run in list(texts.values())[:2]
            if run.summary.data and run.summary.tokenizer
        )
        raise UserError(
            f"{named}: the runs were trained on {len(texts)} different token stores ({some}), so "
            "neither their losses nor their tokens compare; name runs of one data=... only"
        )


def check_enough(named: str, fitted: Runs, left_out: Sequence[str]) -> None:
    """Raise UserError, with what is missing, unless the runs can be fitted."""
    if is_enough(fitted):
        return
    runs, sizes, budgets = len(fitted.losses), count_apart(fitted.sizes), count_apart(fitted.tokens)
    missing = []
    if sizes < LEAST_SIZES:
        missing.append(f"{LEAST_SIZES - sizes} more of other sizes (model.n_embd, model.n_layer)")
    if budgets < LEAST_BUDGETS:
        missing.append(f"{LEAST_BUDGETS - budgets} more of other lengths (budget.tokens)")
    unfinished = f" ({len(left_out)} left out, such as {left_out[0]})" if left_out else ""
    raise UserError(
        f"{named}: a scaling law needs at least {LEAST_RUNS} finished runs of {LEAST_SIZES} sizes "
        f"and {LEAST_BUDGETS} lengths, here are {runs} of {sizes} and {budgets}{unfinished}; train "
        f"{' and '.join(missing) or 'other combinations of them'}, or python train.py +sweep=ladder"
    )


def weaknesses(runs: Sequence[ComparedRun]) -> list[str]:
    """What weakens a fit to these runs, as sentences."""
    notes = []
    others = [key for key in differing_keys(runs) if not key.startswith(OF_A_LADDER)]
    if others:
        notes.append(f"The runs also differ in {', '.join(others)}; the law takes that for chance.")
    constant = [run.name for run in runs if run.settings.get("scheduler.name") == "none"]
    if constant:
        notes.append(
            f"{len(constant)} of {len(runs)} runs ended at their full learning rate, such as "
            f"{constant[0]}. A law compares runs that were each decayed to their end "
            "(scheduler=warmup_cosine)."
        )
    return notes
