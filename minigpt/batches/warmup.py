"""Batch warm-up: the size of a batch as a pure function of its number in the run."""

from dataclasses import dataclass

import numpy as np

from minigpt.errors import check_positive, check_types


@dataclass(frozen=True)
class BatchWarmup:
    """The keys of `data.batch_warmup`. Raises UserError by key."""

    start: int  # blocks in the first batch
    steps: int  # batches that are smaller than data.batch_size

    def __post_init__(self) -> None:
        check_types("data.batch_warmup", self)
        check_positive("data.batch_warmup", self, "start", "steps")


class BatchSizes:
    """Batches that grow in equal steps from `start` blocks to batch_size, and then stay."""

    def __init__(self, warmup: BatchWarmup, batch_size: int) -> None:
        self.batch_size = batch_size
        growth = (batch_size - warmup.start) * np.arange(warmup.steps) // warmup.steps
        self._sizes = warmup.start + growth
        self._before = np.concatenate([[0], np.cumsum(self._sizes)])  # blocks before each batch

    def size(self, number: int) -> int:
        """Blocks in a batch; the run's first is number 0."""
        return int(self._sizes[number]) if number < len(self._sizes) else self.batch_size

    def before(self, number: int) -> int:
        """Blocks in all batches before this one."""
        grown = min(number, len(self._sizes))
        return int(self._before[grown]) + (number - grown) * self.batch_size
