"""Refuses a resume that asks for less than the run has behind it."""

from typing import Any

import lightning.pytorch as pl

from minigpt.errors import UserError
from minigpt.training.lightning_seams import epochs_completed


def check_longer(checkpoint: dict[str, Any], trainer: pl.Trainer) -> None:
    """Raises UserError where a trainer's length is shorter than what a checkpoint has behind it.

    A run that is complete may be resumed as it was: it tests again, and says so.
    """
    epochs, max_epochs = epochs_completed(checkpoint), trainer.max_epochs
    if max_epochs is not None and 0 <= max_epochs < epochs:
        raise UserError(
            f"trainer.max_epochs={max_epochs}: the run to resume has {epochs} epochs behind it; "
            "ask for more"
        )
    steps = checkpoint["global_step"]
    if 0 <= trainer.max_steps < steps:
        raise UserError(
            f"the run to resume has {steps} steps behind it, and its length is now "
            f"{trainer.max_steps}; raise trainer.max_steps, or the budget that sets it"
        )
