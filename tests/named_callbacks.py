"""Callbacks that a configuration names: they go wrong in one process, leave a trace, or signal."""

import os
import signal
from pathlib import Path

import lightning.pytorch as pl
import torch


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


class MemoryLimit(pl.Callback):
    """Has a process's network run out of memory with more than some rows, as a GPU would.

    step: from this optimizer step on; where: in the forward or the backward pass.
    """

    def __init__(self, rows: int, step: int = 0, rank: int = 0, where: str = "forward") -> None:
        self.rows, self.step, self.rank, self.where = rows, step, rank, where

    def on_train_start(self, trainer, pl_module):
        def limit(module, inputs, output):
            here = trainer.global_rank == self.rank and trainer.global_step >= self.step
            if not (here and module.training and len(output) > self.rows):
                return
            if self.where == "forward":
                self._run_out()
            output.register_hook(self._run_out)

        pl_module.net.wte.register_forward_hook(limit)

    def _run_out(self, *_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


class PoisonLoss(pl.Callback):
    """Makes the loss of one process NaN at one step."""

    def __init__(self, step: int, rank: int) -> None:
        self.step, self.rank = step, rank

    def on_train_start(self, trainer, pl_module):
        def poison(module, inputs, output):
            here = trainer.global_rank == self.rank and trainer.global_step == self.step
            return output * float("nan") if here and module.training else output

        pl_module.net.wte.register_forward_hook(poison)
