"""Blocks -> batches, in an order that can resume without saved state.

Shapes: B batch_size, T block_size.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from minigpt.batches.blocks import Blocks, count_batches
from minigpt.batches.device_blocks import DeviceBlocks
from minigpt.batches.order import Indices, block_order

ORDERED = 64  # batches whose order is computed in one call

Batch = tuple[Tensor, Tensor]  # (B, T) inputs, (B, T) targets


class BlockBatches(Dataset[Batch]):
    """Batch number -> batch, for one rank. Workers and ranks share one global order."""

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
        return count_batches(len(self.blocks), self.batch_size * self.world_size)

    def __getitem__(self, number: int) -> Batch:
        start = (number * self.world_size + self.rank) * self.batch_size
        n_blocks = len(self.blocks)
        if start >= n_blocks:
            # No block is left for this rank, but it must take part: a block without targets.
            inputs, targets = self._cut(np.zeros(1, np.int64))
            return inputs, torch.full_like(targets, self.blocks.ignore)
        return self._cut(self._order(number)[: n_blocks - start])

    def _cut(self, indices: Indices) -> Batch:
        batch = self.blocks.batch(indices)
        return torch.as_tensor(batch[0]), torch.as_tensor(batch[1])

    def _order(self, number: int) -> Indices:
        """(B) block numbers of a batch; entries past the last block are meaningless.

        Computed for many batches at once, since a numpy call costs as much for one.
        """
        first = number - number % ORDERED
        if self._ordered[:2] != (self.epoch, first):
            starts = np.arange(first, first + ORDERED) * self.world_size + self.rank
            positions = starts[:, None] * self.batch_size + np.arange(self.batch_size)
            if self.seed is not None:
                inside = positions < len(self.blocks)
                positions[inside] = block_order(
                    positions[inside], len(self.blocks), self.seed, self.epoch
                )
            self._ordered = self.epoch, first, positions
        return self._ordered[2][number - first]


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
) -> Iterable[Batch]:
    """The batches of these numbers in their order, cut ahead from blocks by any workers."""
    return DataLoader(
        batches,
        batch_size=None,
        sampler=numbers,
        num_workers=num_workers,
        # So that the copy to the GPU runs in the background.
        pin_memory=torch.cuda.is_available() and isinstance(blocks, Blocks),
    )
