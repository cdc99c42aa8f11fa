"""After Ctrl-C or SIGTERM: finish the optimizer step, save last.ckpt, stop."""

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Checkpoint

from minigpt import signals
from minigpt.runs.run_folder import RunFolder
from minigpt.training.lightning_seams import at_step_boundary
from minigpt.training.processes import agree_on_largest


class Interruption(Checkpoint):
    """Ends the run after a signal: between two optimizer steps, at an epoch's end, or in the test.

    Lightning on its own saves nothing, and stops Ctrl-C in the middle of a step. It sets its own
    handler before it trains or tests, so ours are installed again at each start. A Checkpoint,
    since Lightning calls those last, when all other callbacks have done their part.
    """

    def __init__(self, run_dir: str) -> None:
        self.path = RunFolder(run_dir).last

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        signals.hold()

    def on_sanity_check_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        signals.install()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        signals.install()

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        signals.install()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if at_step_boundary(trainer):
            self._stop_if_asked(trainer, save=True)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop_if_asked(trainer, save=True)

    def on_test_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        # Training is over and saved; a resumed run only repeats the test.
        self._stop_if_asked(trainer, save=False)

    def _stop_if_asked(self, trainer: pl.Trainer, save: bool) -> None:
        signum = agree_on_largest(trainer, signals.received())
        if signum:
            if save:
                trainer.save_checkpoint(self.path)
            raise signals.Interrupted(signum)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        if not isinstance(exception, signals.Interrupted):
            signals.release()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        signals.release()
