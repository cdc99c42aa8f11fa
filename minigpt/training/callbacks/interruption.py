"""Ctrl-C and SIGTERM: finish the batch, save where training stands, stop."""

import signal
import threading
from pathlib import Path
from types import FrameType

import lightning.pytorch as pl
from lightning.pytorch.utilities.exceptions import SIGTERMException


class Interruption(pl.Callback):
    """Makes either signal end the run between two batches with a checkpoint to resume from.

    Lightning stops cleanly on SIGTERM but saves nothing, and on Ctrl-C stops in mid-step. A
    second Ctrl-C does not wait. `signum` tells afterwards which signal came, if any.
    """

    def __init__(self, checkpoint: str) -> None:
        self.checkpoint = Path(checkpoint)
        self.signum: int | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # signals go to the main thread only
        # Set by now: Lightning's handler, which ends the run after the batch under way.
        self._lightning = signal.getsignal(signal.SIGTERM)
        self._previous = signal.getsignal(signal.SIGINT)
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        if signum == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        self.signum = signum
        if callable(self._lightning):
            self._lightning(signal.SIGTERM, frame)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        if isinstance(exception, SIGTERMException):
            trainer.save_checkpoint(self.checkpoint)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage == "fit" and hasattr(self, "_previous"):
            signal.signal(signal.SIGINT, self._previous)
            signal.signal(signal.SIGTERM, self._lightning)
