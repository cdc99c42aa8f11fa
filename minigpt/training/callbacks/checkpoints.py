"""Which checkpoints a run keeps: the best by held-out loss, and the last."""

import time
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Checkpoint

from minigpt.errors import UserError
from minigpt.runs.run_folder import RunFolder
from minigpt.training.callbacks.metrics import Metrics
from minigpt.training.lightning_seams import at_step_boundary, epoch_is_cut_short
from minigpt.training.processes import agree_on_largest


class BestCheckpoint(Checkpoint):
    """Saves best.ckpt at each validation whose loss is the lowest so far.

    After an epoch's last batch it waits for the epoch's end, so that a run which goes on from here
    has that epoch in its record.
    """

    def __init__(self, run_dir: str) -> None:
        self.path = RunFolder(run_dir).best
        self._waits = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking or not Metrics.of(trainer).last_validation_is_best:
            return
        self._waits = not epoch_is_cut_short(trainer)
        if not self._waits:
            trainer.save_checkpoint(self.path)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._waits:
            self._waits = False
            trainer.save_checkpoint(self.path)


class LastCheckpoint(Checkpoint):
    """Saves last.ckpt after every validation, at an epoch's end, and every so many minutes.

    Always between two optimizer steps, from where a resumed run goes on exactly. For the same
    reason a stop that is asked for among accumulated batches waits for their optimizer step.
    """

    def __init__(self, run_dir: str, minutes: float) -> None:
        if not minutes > 0:
            raise UserError(f"callbacks.last.minutes must be above 0, got {minutes}")
        self.path = RunFolder(run_dir).last
        self.seconds = 60 * minutes
        self._saved_at = time.monotonic()
        self._validated_since = False
        self._stop_waits = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._saved_at = time.monotonic()
        self._validated_since = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._validated_since = not trainer.sanity_checking
        self._delay_stop(trainer)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        self._delay_stop(trainer)

    def _delay_stop(self, trainer: pl.Trainer) -> None:
        """Take back trainer.should_stop until the optimizer step; max_time and patience set it."""
        self._stop_waits = self._stop_waits or trainer.should_stop
        trainer.should_stop = self._stop_waits and at_step_boundary(trainer)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if not at_step_boundary(trainer):
            return
        due = self._validated_since or time.monotonic() - self._saved_at >= self.seconds
        if agree_on_largest(trainer, int(due)):
            self._save(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        if not at_step_boundary(trainer):
            return  # the checkpoint from before stays, from where a resumed run is exact
        trainer.save_checkpoint(self.path)
        self._saved_at = time.monotonic()
        self._validated_since = False
