"""Stops a run that diverges, before it validates or saves a loss or weight that is not finite."""

import math
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from minigpt.training.callbacks.metrics import Metrics
from minigpt.training.finite import check_finite, scalar_read_syncs


class FiniteWatch(pl.Callback):
    """Checks each loss on a CPU; on a GPU only the losses that are logged, validated or saved.

    LitGPT checks the gradient between backward pass and optimizer step. Raises DivergedError,
    after which nothing is saved.
    """

    def on_before_backward(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor
    ) -> None:
        if not scalar_read_syncs(pl_module):
            check_finite(trainer, loss.item(), "the loss", "training stopped before that step")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        loss = Metrics.of(trainer).latest.get("train/loss")
        if loss is not None:
            check_finite(trainer, loss, "the loss", "training stopped")

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._check_unlogged(trainer, "nothing was validated")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        loss = Metrics.of(trainer).epoch_val_loss
        if loss is not None:
            check_finite(trainer, loss, "the held-out loss", "nothing was saved")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._check_unlogged(trainer, "nothing was saved")

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._check_unlogged(trainer, "nothing was saved")
        for name, parameter in pl_module.named_parameters():
            if not torch.isfinite(parameter).all():  # of all shares, where it is divided
                check_finite(trainer, math.nan, f"a weight of {name}", "nothing was saved")

    def _check_unlogged(self, trainer: pl.Trainer, consequence: str) -> None:
        metrics = Metrics.of(trainer)
        if metrics.has_unlogged_loss:
            check_finite(
                trainer,
                metrics.loss_since_log(trainer),
                "the loss since the last log",
                consequence,
            )
