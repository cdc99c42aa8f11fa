"""A signal after a number of steps, for the proof of exact resume."""

import os
import signal
from typing import Any

import lightning.pytorch as pl


class StopAfter(pl.Callback):
    """Sends this process a SIGTERM after a number of optimizer steps; None for never."""

    def __init__(self, steps: int | None) -> None:
        self.steps = steps

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        if trainer.global_step == self.steps:
            self.steps = None
            os.kill(os.getpid(), signal.SIGTERM)
