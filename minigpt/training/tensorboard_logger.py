"""The Lightning logger behind TensorBoard's files."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.tensorboard import TensorBoardLogger as FabricLogger
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from minigpt.atomic_file import explain_disk_errors
from minigpt.errors import UserError
from minigpt.training.lightning_seams import wrap_event_writers


class TensorBoardEvents(TensorBoardLogger):
    """Writes event files into the run folder; raises UserError where the disk refuses.

    Without hparams.yaml, which Lightning would write in place: config.yaml has them.
    """

    @property
    def experiment(self) -> Any:
        """torch's SummaryWriter, which opens an event file when it is first asked for."""
        is_new = self._experiment is None
        with explain_disk_errors(self._file):
            writer = super().experiment
        if is_new and self._experiment is not None:
            wrap_event_writers(self._experiment, self._open_file)
        return writer

    @property
    def _file(self) -> Path:
        """Stands for the event files, whose names go on with the time."""
        return Path(self.log_dir) / "events.out.tfevents"

    def _open_file(self, opened: Callable[[], Any]) -> Any:
        with explain_disk_errors(self._file):
            files = opened()
        if not isinstance(files.event_writer, _Explained):
            files.event_writer = _Explained(files.event_writer, self._file)
        return files

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        try:
            super().log_metrics(metrics, step)
        except ValueError as error:
            if isinstance(error.__cause__, UserError):
                # Lightning takes any error for one of the metrics' types.
                raise UserError(str(error.__cause__)) from None
            raise

    @rank_zero_only
    def save(self) -> None:
        FabricLogger.save(self)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        try:
            FabricLogger.finalize(self, status)
        except Exception:
            if status == "success":
                raise
            # The error that ends the run says more than that of the last flush.


class _Explained:
    """An event writer whose disk errors name its file."""

    def __init__(self, writer: Any, path: Path) -> None:
        self._writer = writer
        self._path = path

    def get_logdir(self) -> str:
        return str(self._writer.get_logdir())

    def add_event(self, event: Any) -> None:
        with explain_disk_errors(self._path):
            self._writer.add_event(event)

    def flush(self) -> None:
        with explain_disk_errors(self._path):
            self._writer.flush()

    def close(self) -> None:
        with explain_disk_errors(self._path):
            self._writer.close()
