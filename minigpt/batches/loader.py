"""Blocks -> batches, in an order that can resume without saved state.

Shapes: B batch_size, T block_size.
"""

import re
import signal
import threading
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from minigpt.batches.blocks import Blocks, count_batches, rows_of_rank
from minigpt.batches.device_blocks import DeviceBlocks
from minigpt.batches.order import Indices, block_order
from minigpt.errors import UserError

ORDERED = 64  # batches whose order is computed in one call

# As torch says it.
DEAD_WORKER = re.compile(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)")

Batch = tuple[Tensor, Tensor]  # (B, T) inputs, (B, T) targets


class BlockBatches(Dataset[Batch]):
    """Batch number -> one rank's rows of the batch. Workers and ranks share one global order.

    batch_size: of all ranks together.
    """

    def __init__(
        self,
        blocks: Blocks | DeviceBlocks,
        batch_size: int,
        seed: int | None,
        rank: int,
        world_size: int,
    ) -> None:
        self.blocks = blocks
        self.batch_size = batch_size
        self.seed = seed  # None: the order of the text
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self._ordered: tuple[int, int, Indices] = (-1, -1, np.empty(0, np.int64))

    def __len__(self) -> int:
        return count_batches(len(self.blocks), self.batch_size)

    def __getitem__(self, number: int) -> Batch:
        rows = self.rows(number)
        if not rows:
            return without_targets(self.blocks)
        if self.size(number) == self.batch_size:
            return cut(self.blocks, self._order(number))
        return cut(self.blocks, self._shuffled(number * self.batch_size + np.array(rows)))

    def size(self, number: int) -> int:
        """Rows of a batch on all ranks."""
        return min(self.batch_size, len(self.blocks) - number * self.batch_size)

    def rows(self, number: int) -> range:
        """The rows of a batch that this rank has."""
        return rows_of_rank(self.size(number), self.rank, self.world_size)

    def _shuffled(self, positions: Indices) -> Indices:
        """Positions in the epoch -> block numbers."""
        if self.seed is None:
            return positions
        return block_order(positions, len(self.blocks), self.seed, self.epoch)

    def _order(self, number: int) -> Indices:
        """(B) block numbers of this rank's rows of a full batch.

        Computed for many batches at once, since a numpy call costs as much for one.
        """
        first = number - number % ORDERED
        if self._ordered[:2] != (self.epoch, first):
            end = min(first + ORDERED, len(self.blocks) // self.batch_size)  # full batches
            rows = np.array(rows_of_rank(self.batch_size, self.rank, self.world_size))
            positions = np.arange(first, end)[:, None] * self.batch_size + rows
            self._ordered = self.epoch, first, self._shuffled(positions)
        return self._ordered[2][number - first]


def cut(blocks: Blocks | DeviceBlocks, indices: Indices) -> Batch:
    """The batch of these blocks."""
    inputs, targets = blocks.batch(indices)
    return torch.as_tensor(inputs), torch.as_tensor(targets)


def without_targets(blocks: Blocks | DeviceBlocks) -> Batch:
    """A block that counts nothing, for a rank without rows: it must take part in the step."""
    inputs, targets = cut(blocks, np.zeros(1, np.int64))
    return inputs, torch.full_like(targets, blocks.ignore)


class BlockLoader:
    """The batches of one epoch, from the batch that training has reached.

    `position` gives (epoch, batches done) when the first batch is drawn. The loader keeps no state
    of its own, so a resumed run draws exactly the batches that an undisturbed one would have.
    """

    def __init__(
        self,
        batches: BlockBatches,
        num_workers: int,
        position: Callable[[], tuple[int, int]] | None = None,
    ) -> None:
        self.batches = batches
        self.num_workers = num_workers
        self.position = position

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        start = 0
        if self.position is not None:
            self.batches.epoch, start = self.position()
        numbers = range(start, len(self))
        yield from load(self.batches, self.batches.blocks, numbers, self.num_workers)


def load(
    batches: Dataset[Batch], blocks: Blocks | DeviceBlocks, numbers: range, num_workers: int
) -> Iterator[Batch]:
    """The batches of these numbers in their order, cut ahead from blocks by any workers.

    Raises UserError, within ten seconds, where a worker is killed.
    """
    loader = DataLoader(
        batches,
        batch_size=None,
        sampler=numbers,
        num_workers=num_workers,
        # So that the copy to the GPU runs in the background.
        pin_memory=torch.cuda.is_available() and isinstance(blocks, Blocks),
    )
    before = signal.getsignal(signal.SIGCHLD)
    cut = iter(loader)
    if num_workers and threading.current_thread() is threading.main_thread():
        # torch raises the death of a worker from a signal, wherever the program is: also where it
        # is ignored, or in the middle of a write. The next batch tells it as well.
        signal.signal(signal.SIGCHLD, before)
    try:
        yield from cut
    except RuntimeError as error:
        if not (worker := DEAD_WORKER.match(str(error))):
            raise
        raise UserError(
            f"a process that cuts batches was killed from outside (pid {worker[1]}), often for "
            "want of memory; data.num_workers=0 needs none"
        ) from None
