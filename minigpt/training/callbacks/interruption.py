"""Ctrl-C and SIGTERM: finish the optimizer step, save where training stands, stop."""

import signal
import threading
from types import FrameType
from typing import Any

import lightning.pytorch as pl

from minigpt.runs.run_folder import RunFolder
from minigpt.training.processes import agree_on_largest


class Interrupted(SystemExit):
    """Ends the process as a shell expects of a signal: exit code 128 + its number."""


class Interruption(pl.Callback):
    """Makes either signal end the run between two optimizer steps, with a checkpoint of that place.

    Lightning on its own saves nothing, stops Ctrl-C in mid-step and SIGTERM in mid-validation, and
    exits with 0. A second signal does not wait.
    """

    def __init__(self, run_dir: str) -> None:
        self.checkpoint = RunFolder(run_dir).last
        self.signum: int | None = None
        self.previous: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Lightning has set its own handlers by now. Only the main thread is told of signals.
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM):
                self.previous[signum] = signal.signal(signum, self._remember)

    def _remember(self, signum: int, frame: FrameType | None) -> None:
        self.signum = signum
        signal.signal(signum, signal.SIG_DFL)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx % trainer.accumulate_grad_batches:
            return
        if signum := agree_on_largest(trainer, self.signum or 0):
            trainer.save_checkpoint(self.checkpoint)
            raise Interrupted(128 + signum)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        while self.previous:
            signal.signal(*self.previous.popitem())
