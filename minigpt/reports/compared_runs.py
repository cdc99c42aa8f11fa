"""Run folders -> what they were, how they went, and in what they differ."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from minigpt.errors import UserError
from minigpt.model.gpt import GPTConfig, training_flops_per_token
from minigpt.reports.run_report import read_summary
from minigpt.training.callbacks.hparams import flatten

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
        """finished, interrupted, failed, or stopped: it says that it runs, and may not."""
        status = self.summary.get("status", "failed")
        return "stopped" if status == "running" else status

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
        return self.figure("best", "val/loss")

    @property
    def train_loss(self) -> float:
        """The last epoch's."""
        return self.figure("final", "train/loss")

    @property
    def gap(self) -> float:
        """Held-out minus training loss at the end, in nats."""
        return self.figure("final", "val/loss") - self.train_loss

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
            if not row["step"].isdigit():
                continue  # a row that a kill cut short
            step = int(row["step"])
            tokens = step * per_step
            if row.get("tokens_per_second"):
                seconds += (step - last_step) * per_step / float(row["tokens_per_second"])
                last_step = step
            if row.get(metric):
                found.append((float(step), tokens, seconds, float(row[metric])))
        return found

    @cached_property
    def history(self) -> list[dict[str, str]]:
        path = self.folder / "metrics.csv"
        if not path.exists():
            return []
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))


def find_runs(places: Sequence[Path]) -> list[Run]:
    """Every run in and below the given folders, each once, in the order of their names.

    Raises UserError where a place does not exist or holds no run.
    """
    folders: dict[Path, None] = {}
    for place in places:
        if not place.is_dir():
            raise UserError(f"{place} is no folder; name run folders or a sweep's")
        inside = {path.parent for path in place.resolve().rglob("config.yaml")}
        # A run's own subfolders can hold a logger's files of that name.
        found = [folder for folder in inside if inside.isdisjoint(folder.parents)]
        if not found:
            raise UserError(f"{place} holds no run: there is no config.yaml in or below it")
        folders.update(dict.fromkeys(sorted(found, key=_natural)))
    names = _names(list(folders))
    return [_read(folder, name) for folder, name in zip(folders, names, strict=True)]


def _read(folder: Path, name: str) -> Run:
    try:
        content = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
        assert isinstance(content, dict)
    except Exception as error:  # a damaged file fails in any way that YAML can
        raise UserError(f"{folder / 'config.yaml'} cannot be read ({error})") from None
    flat = flatten({str(key): value for key, value in content.items()})
    experiment = content.get("name")
    try:
        summary = read_summary(folder)
    except UserError:
        summary = {"status": "failed", "reason": "it stopped before its first step"}
    settings = {key: value for key, value in flat.items() if not key.startswith(PLUMBING)}
    return Run(folder, name, settings, summary, experiment)


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
