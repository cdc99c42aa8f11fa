"""Keeps summary.json true while a run trains."""

import platform
import time
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from typing import Any

import lightning.pytorch as pl
from pydantic import BaseModel, Field

from minigpt.errors import UserError
from minigpt.model.gpt import count_parameters
from minigpt.model.loss import perplexity
from minigpt.runs.run_folder import RunFolder
from minigpt.runs.summary import (
    Data,
    Epoch,
    Rewind,
    Sample,
    Status,
    Summary,
    Test,
    TokenizerName,
)
from minigpt.signals import Interrupted
from minigpt.training.callbacks.metrics import Metrics
from minigpt.training.callbacks.samples import TextSamples
from minigpt.training.data_module import TokenDataModule
from minigpt.training.finite import DivergedError
from minigpt.training.lightning_seams import epoch_is_cut_short
from minigpt.training.lit_gpt import LitGPT
from minigpt.training.memory import peak_memory
from minigpt.training.processes import is_first

VERSIONS = ("torch", "lightning", "tiktoken", "hydra-core", "omegaconf", "numpy")


class _State(BaseModel):
    """What a checkpoint holds of the summary."""

    epochs: list[Epoch]
    unfinished_epoch: Epoch | None = None  # older checkpoints do not have it
    seconds: float
    commands: list[str] = Field(min_length=1)
    overrides: list[str]
    code_commit: str | None


class RunSummary(pl.Callback):
    """Writes summary.json from the first step on, so a killed run tells how far it came.

    Its record of epochs travels in the checkpoint: a resumed run's summary is that of one run.
    """

    def __init__(
        self,
        run: RunFolder,
        command: str,
        overrides: list[str],
        code_commit: str | None,
        rewinds: list[Rewind],
    ) -> None:
        """rewinds: those of earlier starts."""
        self.run = run
        self.rewinds = rewinds
        self.overrides = overrides
        self.code_commit = code_commit
        self.commands = [command]  # the one that began the run, and those that resumed it
        self.epochs: list[Epoch] = []
        self.unfinished_epoch: Epoch | None = None  # cut short; a resumed run ends it
        self.test: Test | None = None
        self.earlier_seconds = 0.0  # of the starts before this one
        self.started = time.perf_counter()
        self.active = False

    def state_dict(self) -> dict[str, Any]:
        return {
            "epochs": [epoch.model_dump() for epoch in self.epochs],
            "unfinished_epoch": self.unfinished_epoch and self.unfinished_epoch.model_dump(),
            "seconds": self._seconds(),
            "commands": self.commands,
            "overrides": self.overrides,
            "code_commit": self.code_commit,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        state = _State.model_validate(state_dict)
        self.epochs = state.epochs
        self.unfinished_epoch = state.unfinished_epoch
        self.earlier_seconds = state.seconds
        self.commands = [*state.commands, *self.commands]
        self.overrides = state.overrides
        self.code_commit = state.code_commit

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.epoch_started = time.perf_counter()
        self.active = True
        self.write(trainer, Status.RUNNING)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.unfinished_epoch = None  # a resumed run goes on with that epoch

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking:
            self.write(trainer, Status.RUNNING)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        metrics = Metrics.of(trainer)
        loss, val_loss = metrics.epoch_loss(trainer), metrics.epoch_val_loss
        epoch = Epoch(
            epoch=trainer.current_epoch + 1,
            step=trainer.global_step,
            train_loss=loss,
            train_perplexity=perplexity(loss),
            val_loss=val_loss,
            val_perplexity=None if val_loss is None else perplexity(val_loss),
            seconds=time.perf_counter() - self.epoch_started,
        )
        if epoch_is_cut_short(trainer):
            self.unfinished_epoch = epoch
        else:
            self.epochs.append(epoch)
        self.epoch_started = time.perf_counter()
        self.write(trainer, Status.RUNNING)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if self.active:  # a run that is killed resumes from here, so the summary says so
            self.write(trainer, Status.RUNNING)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        if not self.active:
            return  # a resume that was refused must not change the record of the run
        with suppress(UserError):  # a full disk must not hide why the run ended
            if isinstance(exception, Interrupted | KeyboardInterrupt):
                self.write(trainer, Status.INTERRUPTED)
                return
            status = Status.DIVERGED if isinstance(exception, DivergedError) else Status.FAILED
            self.write(trainer, status, str(exception) or type(exception).__name__)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.active = False
        self.write(trainer, Status.RUNNING)  # test and evaluation are still to come

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.active = True

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        metrics = trainer.callback_metrics
        loss = float(metrics["test/loss"])
        self.test = Test(loss=loss, perplexity=perplexity(loss))
        self.active = False

    def write(self, trainer: pl.Trainer, status: Status, reason: str | None = None) -> None:
        """Replace summary.json; the first process writes.

        All processes have to call this together, except after a failure, which may be one's alone.
        """
        metrics = Metrics.of(trainer)
        alone = trainer.world_size > 1 and status in (Status.FAILED, Status.DIVERGED)
        tokens_seen = metrics.tokens_seen if alone else metrics.total_tokens(trainer)
        if is_first(trainer):
            self.run.write_summary(self._summary(trainer, status, reason, tokens_seen))

    def _summary(
        self, trainer: pl.Trainer, status: Status, reason: str | None, tokens_seen: int
    ) -> Summary:
        lit, data = trainer.lightning_module, trainer.datamodule
        assert isinstance(lit, LitGPT)
        assert isinstance(data, TokenDataModule)
        metrics = Metrics.of(trainer)
        parameters = count_parameters(lit.net.config)
        samples = next((c for c in trainer.callbacks if isinstance(c, TextSamples)), None)
        manifest = data.store.manifest
        return Summary(
            status=status,
            reason=reason,
            command=self.commands[0],
            overrides=self.overrides,
            resumed_by=self.commands[1:],
            parameters=sum(parameters.values()),
            parameters_by_part=parameters,
            vocab_size=lit.net.config.vocab_size,
            batches_per_epoch=int(trainer.num_training_batches),
            steps=trainer.global_step,
            skipped_steps=lit.skipped.count if lit.skipped else 0,
            rewinds=self.rewinds,
            epochs=[*self.epochs, *([self.unfinished_epoch] if self.unfinished_epoch else [])],
            best=metrics.best,
            test=self.test,
            tokens_seen=tokens_seen,
            tokens_per_second=(
                metrics.tokens_seen / metrics.train_seconds if metrics.train_seconds else None
            ),
            wall_seconds=self._seconds(),
            peak_memory_bytes=peak_memory(lit.device),
            micro_batch=lit.micro_batches.rows if lit.micro_batches else None,
            sample=Sample(**samples.latest) if samples and samples.latest else None,
            data=Data(
                source=data.config.source,
                fingerprint=manifest.fingerprint,
                tokens=manifest.tokens,
                documents=manifest.documents,
            ),
            tokenizer=TokenizerName(
                name=manifest.tokenizer["name"], fingerprint=manifest.tokenizer["fingerprint"]
            ),
            loss=lit.loss_method,
            precision=str(trainer.precision),
            device=str(lit.device),
            versions=_versions(),
            code_commit=self.code_commit,
        )

    def _seconds(self) -> float:
        return self.earlier_seconds + time.perf_counter() - self.started


@cache  # a look at the installed packages takes as long as a small training step
def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in VERSIONS}}
