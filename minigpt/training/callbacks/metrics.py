"""Measures losses, speed and learning rate during a run, and sends them to the loggers."""

import math
import time
from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from pydantic import BaseModel, NonNegativeInt
from torch import Tensor
from torch.distributed import is_initialized

from minigpt.model.loss import perplexity
from minigpt.runs.summary import BestValidation
from minigpt.tokens.tokenizer import from_spec
from minigpt.training.data_module import TokenDataModule
from minigpt.training.lightning_seams import epoch_is_cut_short
from minigpt.training.lit_gpt import LitGPT
from minigpt.training.loss_meter import LossMeter, bits_per_byte, mean, with_bytes
from minigpt.training.processes import is_first, sum_over_processes


class _State(BaseModel):
    """What a checkpoint holds of the metrics."""

    epoch: tuple[float, float] | None  # nats and tokens of the epoch so far
    step: tuple[float, float] | None  # since the last log
    latest: dict[str, float]
    epoch_val_loss: float | None
    best: BestValidation | None
    tokens_seen: NonNegativeInt
    train_seconds: float
    unlogged_seconds: float


class Metrics(pl.Callback):
    """Sums the losses of batches and logs their mean over the tokens of all processes.

    The sums are saved in the checkpoint, so a resumed run logs the same as an undisturbed one.
    """

    def __init__(self) -> None:
        self.latest: dict[str, float] = {}  # of the last step that was logged
        self.epoch_val_loss: float | None = None  # of this epoch's last validation
        self.best: BestValidation | None = None
        self.last_validation_is_best = False
        self.tokens_seen = 0  # up to the last step that was logged
        self.train_seconds = 0.0  # that those tokens took, without validation
        self._epoch_meter = LossMeter()
        self._step_meter = LossMeter()  # since the last step that was logged
        self._eval_meter = LossMeter()
        self._bytes_per_id: Tensor | None = None  # (V), on the device
        self._timer_start = time.perf_counter()  # when the step meter was last emptied
        self._epoch_logged_at: int | None = None  # the step
        self._at_first_batch = False
        self._unlogged_seconds = 0.0  # that an earlier start trained after its last log
        self._trainer: pl.Trainer | None = None

    @staticmethod
    def of(trainer: pl.Trainer) -> "Metrics":
        """The metrics callback of a trainer."""
        return next(c for c in trainer.callbacks if isinstance(c, Metrics))

    def epoch_loss(self, trainer: pl.Trainer) -> float:
        """Mean training loss of the epoch so far; every process has to ask."""
        return mean(self._summed(trainer, self._epoch_meter))

    def loss_since_log(self, trainer: pl.Trainer) -> float:
        """Mean training loss since the last log; every process has to ask."""
        return mean(self._summed(trainer, self._step_meter))

    @property
    def has_unlogged_loss(self) -> bool:
        return self._step_meter.totals is not None

    def total_tokens(self, trainer: pl.Trainer) -> int:
        """Tokens trained on so far, those not yet logged included; every process has to ask."""
        totals = self._summed(trainer, self._step_meter)
        return self.tokens_seen + (0 if totals is None else int(totals[1].item()))

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._trainer = trainer

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._at_first_batch = True

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self._at_first_batch:  # what other callbacks do before it is not training
            self._at_first_batch = False
            self._timer_start = time.perf_counter() - self._unlogged_seconds
            self._unlogged_seconds = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._epoch_meter.reset()
        self.epoch_val_loss = None

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self._epoch_meter.add(outputs["nats_and_tokens"])
        self._step_meter.add(outputs["nats_and_tokens"])
        stepped = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if stepped and trainer.global_step % trainer.log_every_n_steps == 0:
            self._log_steps(trainer, pl_module)

    def _log_steps(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, LitGPT)
        assert pl_module.grad_norm is not None
        totals = self._summed(trainer, self._step_meter)
        assert totals is not None
        loss, tokens = mean(totals), int(totals[1].item())
        if not tokens:  # every step since the last log was skipped
            return
        now = time.perf_counter()
        seconds = now - self._timer_start
        self.tokens_seen += tokens
        self.train_seconds += seconds
        self._step_meter.reset()
        self._timer_start = now
        self.latest = {
            "train/loss": loss,
            "train/perplexity": perplexity(loss),
            "lr": pl_module.learning_rate,
            "grad_norm": pl_module.grad_norm.item(),
            "tokens_per_second": tokens / seconds,
        }
        self._to_loggers(trainer, self.latest)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        loss = self.epoch_loss(trainer)
        metrics = {"train/loss_epoch": loss, "train/perplexity_epoch": perplexity(loss)}
        pl_module.log_dict(metrics, logger=False, sync_dist=is_initialized())
        if not epoch_is_cut_short(trainer):  # a resumed run ends this epoch, and logs it then
            self._to_loggers(trainer, metrics)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._eval_meter.reset()
        self._validation_start = time.perf_counter()

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        self._add_evaluated(trainer, outputs, batch)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        metrics = self._log_evaluation(trainer, pl_module, "val")
        self.epoch_val_loss = loss = metrics["val/loss"]
        self.last_validation_is_best = loss < (self.best.val_loss if self.best else math.inf)
        if self.last_validation_is_best:
            self.best = BestValidation(
                val_loss=loss,
                val_perplexity=perplexity(loss),
                val_bits_per_byte=_known(metrics["val/bits_per_byte"]),
                step=trainer.global_step,
                epoch=trainer.current_epoch + 1,
            )

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Validation's time does not count as training.
        self._timer_start += time.perf_counter() - self._validation_start

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._eval_meter.reset()

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        self._add_evaluated(trainer, outputs, batch)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._log_evaluation(trainer, pl_module, "test")

    def _add_evaluated(self, trainer: pl.Trainer, totals: Any, batch: Any) -> None:
        assert isinstance(totals, Tensor)
        if self._bytes_per_id is None:
            data = trainer.datamodule
            assert isinstance(data, TokenDataModule)
            counts = from_spec(data.store.manifest.tokenizer).bytes_per_id()
            self._bytes_per_id = torch.from_numpy(counts).to(totals.device)
        self._eval_meter.add(with_bytes(totals, batch[1], self._bytes_per_id))

    def _log_evaluation(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, split: str
    ) -> dict[str, float]:
        totals = self._summed(trainer, self._eval_meter)
        loss = mean(totals)
        metrics = {
            f"{split}/loss": loss,
            f"{split}/perplexity": perplexity(loss),
            f"{split}/bits_per_byte": bits_per_byte(totals),
        }
        # The processes agree already; without sync_dist Lightning would warn at every log.
        pl_module.log_dict(metrics, logger=False, sync_dist=is_initialized())
        self._to_loggers(trainer, metrics)
        return metrics

    def _summed(self, trainer: pl.Trainer, meter: LossMeter) -> Tensor | None:
        return None if meter.totals is None else sum_over_processes(trainer, meter.totals)

    def _to_loggers(self, trainer: pl.Trainer, metrics: dict[str, float]) -> None:
        # Lightning's self.log costs time at every step, and counts an epoch's end a step short.
        if not trainer.testing and self._epoch_logged_at != trainer.global_step:
            # Once a step; a test does not belong to an epoch.
            self._epoch_logged_at = trainer.global_step
            metrics = {"epoch": trainer.current_epoch + 1, **metrics}
        for logger in trainer.loggers:
            logger.log_metrics(metrics, trainer.global_step)

    def state_dict(self) -> dict[str, Any]:
        assert self._trainer is not None
        epoch_totals = self._summed(self._trainer, self._epoch_meter)
        step_totals = self._summed(self._trainer, self._step_meter)
        return {
            "epoch": None if epoch_totals is None else epoch_totals.tolist(),
            "step": None if step_totals is None else step_totals.tolist(),
            "latest": self.latest,
            "epoch_val_loss": self.epoch_val_loss,
            "best": self.best.model_dump() if self.best else None,
            "tokens_seen": self.tokens_seen,
            "train_seconds": self.train_seconds,
            "unlogged_seconds": time.perf_counter() - self._timer_start,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        assert self._trainer is not None
        state = _State.model_validate(state_dict)
        self._epoch_meter.load(self._part_of(state.epoch))
        self._step_meter.load(self._part_of(state.step))
        self.latest = state.latest
        self.epoch_val_loss = state.epoch_val_loss
        self.best = state.best
        self.tokens_seen = state.tokens_seen
        self.train_seconds = state.train_seconds
        self._unlogged_seconds = state.unlogged_seconds

    def _part_of(self, totals: Sequence[float] | None) -> Sequence[float] | None:
        """What this process starts with, so that the sum over processes is the checkpoint's.

        Zeros in all but the first, since a sum needs every process to take part.
        """
        assert self._trainer is not None
        return totals if totals is None or is_first(self._trainer) else [0.0, 0.0]


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
