"""Run folders -> their settings and their figures."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from minigpt.batches.warmup import BatchSizes, BatchWarmup
from minigpt.config import build
from minigpt.errors import UserError
from minigpt.evaluation.document_table import DocumentTable, read_documents
from minigpt.model.gpt import GPTConfig, training_flops_per_token
from minigpt.reports.older_runs import complete_settings
from minigpt.runs.metrics import read_metrics
from minigpt.runs.run_folder import (
    RunFolder,
    UnreadableError,
    find_foreign_folders,
    find_run_folders,
)
from minigpt.runs.summary import HeldOutText, Status, Summary

# Keys that do not affect training: where a run writes and what it shows.
PLUMBING = ("name", "run_dir", "resume", "mirror", "callbacks.", "logger.", "data.root",
            "data.cache", "data.eval_batch_size", "trainer.log_every_n_steps",
            "trainer.enable_")  # fmt: skip

Point = tuple[float, float, float, float]  # step, tokens, seconds of training, value


@dataclass(frozen=True)
class ComparedRun:
    """A run as its folder records it. A figure that the run did not reach is NaN."""

    folder: RunFolder
    name: str  # the shortest end of its path that no other run has
    settings: dict[str, Any]  # flat: "optimizer.lr" -> 0.001
    summary: Summary
    experiment: str | None  # the configuration's `name`

    @property
    def is_finished(self) -> bool:
        return self.summary.status is Status.FINISHED

    @property
    def val_loss(self) -> float:
        """The best held-out loss."""
        return self.summary.best.val_loss if self.summary.best else math.nan

    @property
    def train_loss(self) -> float:
        """Of the last epoch."""
        return self.summary.final.train_loss if self.summary.final else math.nan

    @property
    def gap(self) -> float:
        """Held-out minus training loss of the last epoch, in nats; NaN without a validation."""
        final = self.summary.final
        if final is None or final.val_loss is None:
            return math.nan
        return final.val_loss - final.train_loss

    @property
    def test_loss(self) -> float:
        return self.summary.test.loss if self.summary.test else math.nan

    @property
    def val_bits(self) -> float:
        """Bits per byte of the best validation."""
        return _number(self.summary.best.val_bits_per_byte if self.summary.best else None)

    @property
    def documents_total(self) -> HeldOutText | None:
        """The figures of the validation documents together; else of the test documents."""
        return self.summary.evaluation.get("val") or self.summary.held_out

    @property
    def bits_per_byte(self) -> float:
        """Of the documents, each read on its own; else of the best validation."""
        total = self.documents_total
        return self.val_bits if total is None else _number(total.bits_per_byte)

    @cached_property
    def documents(self) -> DocumentTable | None:
        """The figures of the validation documents; None where they were not written."""
        return read_documents(self.folder, "val")

    @property
    def tokenizer(self) -> str:
        """Its fingerprint; empty where it is not known."""
        return self.summary.tokenizer.fingerprint if self.summary.tokenizer else ""

    @property
    def parameters(self) -> float:
        return _number(self.summary.parameters)

    @property
    def peak_memory(self) -> float:
        """Bytes."""
        return _number(self.summary.peak_memory_bytes)

    @property
    def tokens_per_second(self) -> float:
        return _number(self.summary.tokens_per_second)

    @cached_property
    def network(self) -> GPTConfig | None:
        """The network's shape; None where another version wrote it."""
        shape = {
            key.removeprefix("model."): None if value == "null" else value
            for key, value in self.settings.items()
            if key.startswith("model.")
        }
        shape["vocab_size"] = self.summary.vocab_size
        try:
            return build(GPTConfig, "model", shape)
        except ValueError:
            return None

    @property
    def flops(self) -> float:
        """Floating-point operations of the training."""
        if self.network is None:
            return math.nan
        return float(training_flops_per_token(self.network) * self.summary.tokens_seen)

    @cached_property
    def history(self) -> list[dict[str, float]]:
        """The metrics, one row per logged step; none where the file cannot be read."""
        try:
            return read_metrics(self.folder.metrics)
        except OSError:
            return []

    def _tokens_at(self, step: float) -> float:
        """Tokens seen after a step: the same for each, or growing with the batches."""
        steps, tokens_seen = self.summary.steps, self.summary.tokens_seen
        batch = self.settings["data.batch_size"]
        if not steps or not tokens_seen:  # the run has logged nothing yet
            return float(step * batch * self.settings["model.block_size"])
        start = self.settings.get("data.batch_warmup.start")
        if start is None:
            return step * tokens_seen / steps
        try:
            warmup = BatchWarmup(start, self.settings["data.batch_warmup.steps"])
        except (UserError, KeyError):  # a configuration that no run writes
            return step * tokens_seen / steps
        blocks = BatchSizes(warmup, batch).before
        return tokens_seen * blocks(int(step)) / blocks(steps)

    def series(self, metric: str) -> list[Point]:
        """The points at which a metric was logged; seconds follow from the logged speed."""
        points: list[Point] = []
        seconds, last_tokens = 0.0, 0.0
        for row in self.history:
            step = row["step"]
            tokens = self._tokens_at(step)
            if row.get("tokens_per_second"):
                seconds += (tokens - last_tokens) / row["tokens_per_second"]
                last_tokens = tokens
            if metric in row:
                points.append((step, tokens, seconds, row[metric]))
        return points


def find_runs(places: Sequence[Path]) -> list[ComparedRun]:
    """Every run in and below the given folders, each once, in the order of their names.

    Raises UserError where a place does not exist or holds no run.
    """
    folders: dict[Path, RunFolder] = {}
    for place in places:
        if not place.is_dir():
            raise UserError(f"{place} is not a folder; name run folders or a sweep's")
        runs = {run.path: run for run in find_run_folders(place.resolve())}
        if not runs:
            for folder in find_foreign_folders(place.resolve()):
                RunFolder(folder).read_config()  # says why it is not taken for a run
            raise UserError(f"{place} holds no run of minigpt, nor does a folder below it")
        folders.update({path: runs[path] for path in sorted(runs, key=_natural)})
    names = _names(list(folders))
    return [_read(run, name) for run, name in zip(folders.values(), names, strict=True)]


def _read(run: RunFolder, name: str) -> ComparedRun:
    config = run.read_config()
    try:
        summary = run.read_summary()
    except UnreadableError:
        raise
    except UserError:
        summary = Summary(status=Status.FAILED, reason="it stopped before its first step")
    settings = {
        key: value
        for key, value in complete_settings(config).items()
        if not key.startswith(PLUMBING)
    }
    return ComparedRun(run, name, settings, summary, config.get("name"))


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _names(folders: list[Path]) -> list[str]:
    """The shortest ends of the paths that are all different."""
    for depth in range(1, 8):
        names = ["/".join(folder.parts[-depth:]) for folder in folders]
        if len(set(names)) == len(names):
            break
    return names


def _natural(path: Path) -> list[tuple[int, str]]:
    """A sort key that puts job 10 after job 9."""
    return [(int(part.partition("-")[0]), part) if part.partition("-")[0].isdigit() else (0, part)
            for part in path.parts]  # fmt: skip
