"""The finished runs of a ladder that a scaling law can be fitted to, and what is left out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minigpt.model.gpt import GPTConfig, matrix_parameters, training_flops_per_token
from minigpt.reports.compared_runs import ComparedRun, find_runs
from minigpt.reports.scaling_checks import check_enough, check_same_tokens, unusable, weaknesses
from minigpt.statistics.repeated_tokens import effective_tokens
from minigpt.statistics.scaling_law import Runs


@dataclass(frozen=True)
class LadderRun:
    """One finished run."""

    name: str
    network: GPTConfig = field(repr=False)
    size: int  # N: parameters that take part in matrix products
    tokens: int  # D: trained on, repeated ones included
    effective_tokens: float  # D', in which repeated ones count for less
    loss: float  # held-out, at the end, nats a token
    flops_per_token: int
    tokens_per_second: float  # NaN where it was too short to log one
    lr: Any
    optimizer: Any  # its name
    seed: Any

    @property
    def flops(self) -> float:
        """Floating-point operations of the training."""
        return float(self.flops_per_token) * self.tokens


@dataclass(frozen=True)
class Ladder:
    """Runs of several sizes and lengths on one text."""

    runs: list[LadderRun]
    unique_tokens: int  # of the training text
    devices: list[str]
    left_out: list[str]  # runs that are not fitted, and why
    notes: list[str]  # what weakens the fit

    @property
    def figures(self) -> Runs:
        """What a law is fitted to."""
        return to_fit(self.runs)


def to_fit(runs: Sequence[LadderRun]) -> Runs:
    """The figures of runs, as a law is fitted to them."""
    return Runs(
        np.array([run.size for run in runs], np.float64),
        np.array([run.effective_tokens for run in runs], np.float64),
        np.array([run.loss for run in runs], np.float64),
    )


def read_ladder(places: Sequence[Path]) -> Ladder:
    """The runs in and below some folders.

    Raises UserError where they were trained on different tokens, or are too few to fit.
    """
    usable, left_out = [], []
    for run in find_runs(places):
        reason = unusable(run)
        if reason is None:
            usable.append(run)
        else:
            left_out.append(f"{run.name} ({reason})")
    named = " ".join(map(str, places))
    check_same_tokens(named, usable)
    notes = weaknesses(usable)
    runs, of_same_size = _best_of_each([_ladder_run(run) for run in usable])
    if of_same_size:
        notes.append(
            "Of several runs of the same size, tokens and seed only the best counts; left out: "
            f"{of_same_size}."
        )
    check_enough(named, to_fit(runs), left_out)
    return Ladder(
        sorted(runs, key=lambda run: (run.size, run.tokens)),
        _unique_tokens(usable[0]),
        sorted({run.summary.device or "unknown" for run in usable}),
        left_out,
        notes,
    )


def _ladder_run(run: ComparedRun) -> LadderRun:
    network, final = run.network, run.summary.final
    assert network is not None
    assert final is not None
    assert final.val_loss is not None
    tokens = run.summary.tokens_seen
    return LadderRun(
        run.name, network, matrix_parameters(network), tokens,
        float(effective_tokens(np.array(float(tokens)), _unique_tokens(run))),
        final.val_loss, training_flops_per_token(network), run.tokens_per_second,
        run.settings.get("optimizer.lr"), run.settings.get("optimizer.name", "adamw"),
        run.settings.get("seed"),
    )  # fmt: skip


def _unique_tokens(run: ComparedRun) -> int:
    """Tokens of the training text, or of the part of it that every epoch reads.

    A shuffled epoch reads another part each time. Batches that grow go on where the last epoch
    ended.
    """
    assert run.summary.data is not None
    of_text = run.summary.data.tokens["train"]
    batches = run.summary.batches_per_epoch
    grows = run.settings.get("data.batch_warmup.start") is not None
    if not batches or grows or run.settings.get("data.shuffle", True):
        return of_text
    return min(
        of_text, batches * run.settings["data.batch_size"] * run.settings["model.block_size"]
    )


def _best_of_each(runs: Sequence[LadderRun]) -> tuple[list[LadderRun], int]:
    """The run with the lowest loss of each shape, number of tokens and seed; how many are not."""
    best: dict[Any, LadderRun] = {}
    for run in runs:
        key = (run.network, run.tokens, str(run.seed))
        if key not in best or run.loss < best[key].loss:
            best[key] = run
    return list(best.values()), len(runs) - len(best)
