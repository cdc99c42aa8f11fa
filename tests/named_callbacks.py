"""Callbacks that a configuration names: they go wrong in one process, leave a trace, or signal."""

import os
import signal
from pathlib import Path

import lightning.pytorch as pl


class FailInSecondProcess(pl.Callback):
    """Raises at one step, in the second process only."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_rank == 1 and trainer.global_step == self.step:
            raise OSError("the second process has no disk")


class Touch(pl.Callback):
    """Makes a file."""

    def __init__(self, path: str) -> None:
        Path(path).touch()


class SignalAtStep(pl.Callback):
    """Sends one process of a run a signal in the middle of one step."""

    def __init__(self, step: int, name: str, rank: int = 0) -> None:
        self.step, self.signum, self.rank = step, getattr(signal, name), rank

    def on_after_backward(self, trainer, pl_module):
        if trainer.global_rank == self.rank and trainer.global_step == self.step:
            os.kill(os.getpid(), self.signum)
