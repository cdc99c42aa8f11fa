"""Stops a run that diverges, before it validates or saves a loss or weight that is not finite.

The batches of a step that is not taken are written to the run folder, as ids and as text.
"""

import json
import math
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from minigpt.atomic_file import write_file
from minigpt.batches.loader import Batch
from minigpt.command_lines import display_path
from minigpt.errors import UserError
from minigpt.runs.run_folder import RunFolder
from minigpt.tokens.tokenizer import from_spec
from minigpt.training.callbacks.metrics import Metrics
from minigpt.training.data_module import TokenDataModule
from minigpt.training.finite import StepNotTakenError, check_finite, scalar_read_syncs
from minigpt.training.lightning_seams import at_step_boundary
from minigpt.training.lit_gpt import LitGPT
from minigpt.training.processes import is_first


class FiniteWatch(pl.Callback):
    """Checks each loss on a CPU; on a GPU only the losses that are logged, validated or saved.

    LitGPT checks the gradient between backward pass and optimizer step. Raises DivergedError,
    after which nothing is saved. With on_nan=skip it only reports the steps that LitGPT leaves out.
    """

    def __init__(self, run_dir: str) -> None:
        self.run = RunFolder(run_dir)
        self._step: list[Batch] = []  # the batches of the step that is computed
        self._skipped = 0  # steps that were reported

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, LitGPT)
        self._skipped = pl_module.skipped.count if pl_module.skipped else 0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if at_step_boundary(trainer):
            self._step = []
        self._step.append(batch)

    def on_before_backward(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor
    ) -> None:
        assert isinstance(pl_module, LitGPT)
        if pl_module.skipped is None and not scalar_read_syncs(pl_module):
            check_finite(
                trainer,
                loss.item(),
                "the loss",
                "training stopped before that step",
                StepNotTakenError,
            )

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        assert isinstance(pl_module, LitGPT)
        if pl_module.skipped is not None and pl_module.skipped.count > self._skipped:
            self._skipped = pl_module.skipped.count
            step = trainer.global_step - 1
            path = self._write(trainer, step)
            if is_first(trainer):
                # Any process may have the rows at fault.
                place = path if trainer.world_size == 1 else path.parent
                print(
                    f"skipped step {step}, whose loss or gradient is not finite; its text is in "
                    f"{display_path(place)}",
                    file=sys.stderr,
                )
        loss = Metrics.of(trainer).latest.get("train/loss")
        if loss is not None:
            check_finite(trainer, loss, "the loss", "training stopped")
        if trainer.global_step % trainer.log_every_n_steps == 0:  # the loss was read as well
            self._check_norms(trainer, "training stopped")

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

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        if isinstance(exception, StepNotTakenError):
            with suppress(UserError):  # a full disk must not hide why the run ended
                path = self._write(trainer, trainer.global_step)
                exception.args = (f"{exception}; the text of that step is in {display_path(path)}",)

    def _write(self, trainer: pl.Trainer, step: int) -> Path:
        data = trainer.datamodule
        assert isinstance(data, TokenDataModule)
        tokenizer = from_spec(data.store.manifest.tokenizer)
        ids = [row for inputs, _ in self._step for row in inputs.tolist()]
        content = {
            "step": step,
            "epoch": trainer.current_epoch + 1,
            "sequences": [{"text": tokenizer.decode(row), "ids": row} for row in ids],
        }
        rank = trainer.global_rank if trainer.world_size > 1 else None
        path = self.run.step_not_taken(step, rank)
        write_file(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")
        return path

    def _check_norms(self, trainer: pl.Trainer, consequence: str) -> None:
        lit = trainer.lightning_module
        assert isinstance(lit, LitGPT)
        norms, lit.norms_since_read = float(lit.norms_since_read), 0.0
        check_finite(trainer, norms, "a gradient norm since the last log", consequence)

    def _check_unlogged(self, trainer: pl.Trainer, consequence: str) -> None:
        metrics = Metrics.of(trainer)
        lit = trainer.lightning_module
        assert isinstance(lit, LitGPT)
        # What is skipped is not in the loss, which may then be that of no token at all.
        if metrics.has_unlogged_loss and lit.skipped is None:
            check_finite(
                trainer,
                metrics.loss_since_log(trainer),
                "the loss since the last log",
                consequence,
            )
        self._check_norms(trainer, consequence)
