"""Run folders -> what they were, how they went, and in what they differ."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from minigpt.config import flatten
from minigpt.errors import UserError
from minigpt.model.gpt import GPTConfig, training_flops_per_token
from minigpt.runs.metrics import read_metrics
from minigpt.runs.run_folder import RunFolder, find_run_folders
from minigpt.runs.summary import Status

# What says where a run writes and what it shows, not what it does.
PLUMBING = ("name", "run_dir", "resume", "reference", "callbacks.", "logger.", "data.root",
            "data.eval_batch_size", "trainer.log_every_n_steps", "trainer.enable_")  # fmt: skip


@dataclass
class Run:
    """A run as its folder tells it."""

    folder: Path
    name: str
    config: dict[str, Any]  # flat: "optimizer.lr" -> 0.001
    summary: dict[str, Any]
    experiment: str | None  # what the configuration calls itself

    @property
    def status(self) -> str:
        """How the run stands or ended."""
        return str(self.summary["status"])

    @property
    def reason(self) -> str:
        return self.summary.get("reason") or ""

    def figure(self, *path: str) -> float:
        """A number of the summary, or NaN where the run did not come so far."""
        found: Any = self.summary
        for key in path:
            found = found.get(key) if isinstance(found, dict) else None
        return float(found) if isinstance(found, int | float) else math.nan

    @property
    def val_loss(self) -> float:
        """The best held-out loss."""
        return self.figure("best", "val_loss")

    @property
    def train_loss(self) -> float:
        """The last epoch's."""
        return self.figure("final", "train_loss")

    @property
    def gap(self) -> float:
        """Held-out minus training loss at the end, in nats."""
        return self.figure("final", "val_loss") - self.train_loss

    @property
    def seconds(self) -> float:
        return self.figure("wall_seconds")

    @property
    def tokens(self) -> float:
        return self.figure("tokens_seen")

    @property
    def parameters(self) -> float:
        return self.figure("parameters")

    @cached_property
    def flops(self) -> float:
        """Spent on training."""
        shape = {k.removeprefix("model."): v for k, v in self.config.items() if k[:6] == "model."}
        shape["vocab_size"] = self.summary.get("vocab_size")
        shape.setdefault("positions", "learned")  # the only ones, in runs that do not say
        try:
            return training_flops_per_token(GPTConfig(**shape)) * self.tokens
        except (TypeError, ValueError):
            return math.nan

    def series(self, metric: str) -> list[tuple[float, float, float, float]]:
        """(step, tokens, seconds, value) of each time that a metric was logged, in order.

        Seconds are of training alone: tokens over the speed at the time.
        """
        found, tokens, seconds, last_step = [], 0.0, 0.0, 0
        steps = self.figure("steps")
        if steps > 0 and self.tokens > 0:
            per_step = self.tokens / steps
        else:  # still at its first log
            per_step = float(self.config["data.batch_size"] * self.config["model.block_size"])
        for row in self.history:
            step = int(row["step"])
            tokens = step * per_step
            if row.get("tokens_per_second"):
                seconds += (step - last_step) * per_step / row["tokens_per_second"]
                last_step = step
            if metric in row:
                found.append((float(step), tokens, seconds, row[metric]))
        return found

    @cached_property
    def history(self) -> list[dict[str, float]]:
        """One row a logged step."""
        return read_metrics(RunFolder(self.folder).metrics)


def find_runs(places: Sequence[Path]) -> list[Run]:
    """Every run in and below the given folders, each once, in the order of their names.

    Raises UserError where a place does not exist or holds no run.
    """
    folders: dict[Path, RunFolder] = {}
    for place in places:
        if not place.is_dir():
            raise UserError(f"{place} is not a folder; name run folders or a sweep's")
        runs = {run.path: run for run in find_run_folders(place.resolve())}
        if not runs:
            raise UserError(f"{place} holds no run: there is no config.yaml in or below it")
        folders.update({path: runs[path] for path in sorted(runs, key=_natural)})
    names = _names(list(folders))
    return [_read(run, name) for run, name in zip(folders.values(), names, strict=True)]


def _read(run: RunFolder, name: str) -> Run:
    content = run.read_config()
    flat = flatten(content)
    experiment = content.get("name")
    try:
        summary = run.read_summary().model_dump()
    except UserError:
        summary = {"status": Status.FAILED, "reason": "it stopped before its first step"}
    settings = {key: value for key, value in flat.items() if not key.startswith(PLUMBING)}
    return Run(run.path, name, settings, summary, experiment)


def _names(folders: list[Path]) -> list[str]:
    """The shortest endings of the paths that tell them apart."""
    for depth in range(1, 8):
        names = ["/".join(folder.parts[-depth:]) for folder in folders]
        if len(set(names)) == len(names):
            break
    return names


def _natural(path: Path) -> list[tuple[int, str]]:
    """So that job 10 comes after job 9."""
    return [(int(part.partition("-")[0]), part) if part.partition("-")[0].isdigit() else (0, part)
            for part in path.parts]  # fmt: skip


# Keys that refer to another by default, and follow it.
FOLLOWING = {"model.embd_dropout": "model.dropout", "data.stride": "model.block_size"}


def differing(runs: Sequence[Run]) -> list[str]:
    """The keys of the configuration that are not the same in all runs, most telling first.

    One that refers to another goes where both always change together.
    """
    values = {key: [run.config.get(key) for run in runs] for run in runs for key in run.config}
    changed = [key for key, found in values.items() if any(v != found[0] for v in found)]
    kept = [key for key in changed if values[key] != values.get(FOLLOWING.get(key, ""))]
    return sorted(kept, key=_importance)


def _importance(key: str) -> tuple[int, str]:
    first = ["optimizer.lr", "model.n_embd", "model.n_layer", "model.n_head", "data.batch_size"]
    return (first.index(key) if key in first else len(first) + (key == "seed"), key)


def ranked(runs: Sequence[Run]) -> list[Run]:
    """Least held-out loss first; finished runs before others, and those without one last."""
    return sorted(
        runs,
        key=lambda run: (
            run.status != "finished",
            math.isnan(run.val_loss),
            run.val_loss if not math.isnan(run.val_loss) else 0.0,
        ),
    )
