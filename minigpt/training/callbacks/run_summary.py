"""summary.json: what a run was, how it went, and how it ended."""

import json
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from minigpt.model.gpt import count_parameters
from minigpt.training.callbacks.interruption import Interrupted
from minigpt.training.callbacks.samples import TextSamples
from minigpt.training.data_module import TokenDataModule
from minigpt.training.lit_gpt import LitGPT, perplexity
from minigpt.training.memory import peak_memory

VERSIONS = ("torch", "lightning", "tiktoken", "hydra-core", "omegaconf", "numpy")


class RunSummary(pl.Callback):
    """Keeps summary.json true from the first step on, so a killed run tells how far it came.

    Its record of epochs travels in the checkpoint: a resumed run's summary is that of one run.
    """

    def __init__(self, folder: str, command: str, overrides: list[str]) -> None:
        self.path = Path(folder) / "summary.json"
        self.overrides = overrides
        self.commands = [command]  # the one that began the run, and those that resumed it
        self.epochs: list[dict[str, Any]] = []
        self.best: dict[str, Any] | None = None
        self.seconds_before = 0.0  # of the starts before this one
        self.test: dict[str, float] | None = None
        self.started = time.perf_counter()
        self.training = False

    def state_dict(self) -> dict[str, Any]:
        return {
            "epochs": self.epochs,
            "best": self.best,
            "seconds": self._seconds(),
            "commands": self.commands,
            "overrides": self.overrides,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epochs, self.best = state_dict["epochs"], state_dict["best"]
        self.seconds_before = state_dict["seconds"]
        self.commands = [*state_dict["commands"], *self.commands]
        self.overrides = state_dict["overrides"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.epoch_started = time.perf_counter()
        self.training = True
        self.write(trainer, "running")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        loss = float(trainer.callback_metrics["val/loss"])
        if self.best is None or loss < self.best["val/loss"]:
            self.best = {
                "val/loss": loss,
                "val/perplexity": perplexity(loss),
                "step": trainer.global_step,
                "epoch": trainer.current_epoch + 1,
            }

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, LitGPT)
        loss = pl_module.mean_loss(pl_module.epoch_meter)
        row = {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            "train/loss": loss,
            "train/perplexity": perplexity(loss),
            "seconds": time.perf_counter() - self.epoch_started,
        }
        if "val/loss" in trainer.callback_metrics:
            row["val/loss"] = float(trainer.callback_metrics["val/loss"])
            row["val/perplexity"] = perplexity(row["val/loss"])
        self.epochs.append(row)
        self.epoch_started = time.perf_counter()
        self.write(trainer, "running")

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        if not self.training:
            return  # a resume that was refused must not touch the record of the run
        stopped = isinstance(exception, Interrupted | KeyboardInterrupt)
        reason = None if stopped else str(exception) or type(exception).__name__
        self.write(trainer, "interrupted" if stopped else "failed", reason)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.training = False
        self.write(trainer, "finished")  # the test adds to it, and takes nothing away if stopped

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        metrics = trainer.callback_metrics
        self.test = {name: float(metrics[f"test/{name}"]) for name in ("loss", "perplexity")}

    @rank_zero_only
    def write(self, trainer: pl.Trainer, status: str, reason: str | None = None) -> None:
        """Replaces summary.json in one move."""
        lit, data = trainer.lightning_module, trainer.datamodule
        assert isinstance(lit, LitGPT)
        assert isinstance(data, TokenDataModule)
        parameters = count_parameters(lit.net.config)
        # Of several processes this one's share stands for each: off by a short last batch at most.
        tokens_seen = (lit.tokens_seen + lit.step_meter.tokens()) * trainer.world_size
        samples = next((c for c in trainer.callbacks if isinstance(c, TextSamples)), None)
        manifest = data.store.manifest
        content = {
            "status": status,
            "reason": reason,
            "command": self.commands[0],
            "overrides": self.overrides,
            "resumed_by": self.commands[1:],
            "parameters": sum(parameters.values()),
            "parameters_by_part": parameters,
            "vocab_size": lit.net.config.vocab_size,
            "batches_per_epoch": trainer.num_training_batches,
            "steps": trainer.global_step,
            "epochs": self.epochs,
            "final": self.epochs[-1] if self.epochs else None,
            "best": self.best,
            "test": self.test,
            "tokens_seen": tokens_seen,
            "tokens_per_second": (
                lit.tokens_seen * trainer.world_size / lit.train_seconds
                if lit.train_seconds
                else None
            ),
            "wall_seconds": self._seconds(),
            "peak_memory_bytes": peak_memory(lit.device),
            "sample": samples.latest if samples else None,
            "data": {
                "source": data.config.source,
                "fingerprint": manifest.fingerprint,
                "tokens": manifest.tokens,
                "documents": manifest.documents,
            },
            "tokenizer": {key: manifest.tokenizer[key] for key in ("name", "fingerprint")},
            "loss": lit.loss_method,
            "precision": str(trainer.precision),
            "device": str(lit.device),
            "versions": {"python": platform.python_version(), **{v: version(v) for v in VERSIONS}},
            "git_commit": git_commit(),
        }
        partial = self.path.with_suffix(".json.partial")
        partial.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
        partial.replace(self.path)

    def _seconds(self) -> float:
        return self.seconds_before + time.perf_counter() - self.started


def git_commit() -> str | None:
    """The commit of this code, with `-dirty` where the tree has changes; None outside git."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return None
    return found.stdout.strip() or None
