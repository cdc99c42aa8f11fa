"""The Lightning logger behind metrics.csv."""

from argparse import Namespace
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from minigpt.runs.metrics import MetricsWriter
from minigpt.runs.run_folder import RunFolder


class MetricsCSV(Logger):
    """Appends what is logged to the run's metrics.csv.

    Lightning's own CSVLogger deletes what an earlier start of the run had written.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.path = RunFolder(folder).metrics
        self._writer: MetricsWriter | None = None

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kw: Any) -> None:
        """Do nothing: config.yaml has them."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        if step is None:
            return
        if self._writer is None:
            # The first step logged is the first after the checkpoint that a resume starts from.
            self._writer = MetricsWriter(self.path, resume_step=step)
        self._writer.append(step, metrics)

    def finalize(self, status: str) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
