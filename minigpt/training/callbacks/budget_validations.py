"""Validations spread evenly over a run whose length is a number of steps."""

from typing import Any

import lightning.pytorch as pl

from minigpt.training.lightning_seams import validate_after_batch


def validation_steps(steps: int, validations: int) -> set[int]:
    """The steps that a validation follows, as even as whole steps allow; the last step is one."""
    return {max(1, round(steps * number / validations)) for number in range(1, validations + 1)}


class BudgetValidations(pl.Callback):
    """Validates after the right steps; Lightning alone could only do so every so many steps."""

    def __init__(self, steps: int, validations: int) -> None:
        self.due = validation_steps(steps, validations)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        validate_after_batch(trainer, trainer.global_step + 1 in self.due)
