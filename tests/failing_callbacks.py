"""Callbacks that go wrong in one of several processes; a configuration names them."""

import lightning.pytorch as pl


class FailInSecondProcess(pl.Callback):
    """Raises at one step, in the second process only."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_rank == 1 and trainer.global_step == self.step:
            raise OSError("the second process has no disk")
