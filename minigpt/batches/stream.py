"""Batches that grow: cut one after another from all passes over the text.

Shapes: B the batch's size, T block_size.
"""

from collections.abc import Callable, Iterator

import numpy as np
from torch.utils.data import Dataset

from minigpt.batches.blocks import Blocks, count_batches, rows_of_rank
from minigpt.batches.device_blocks import DeviceBlocks
from minigpt.batches.loader import Batch, cut, load, without_targets
from minigpt.batches.order import block_order
from minigpt.batches.warmup import BatchSizes


class StreamBatches(Dataset[Batch]):
    """Number of a batch in the run -> one rank's rows of the batch.

    The passes over the text, each in its own order, follow one another without a gap. A batch at
    the end of one goes on with the next, so that no block is repeated or left out.
    """

    def __init__(
        self,
        blocks: Blocks | DeviceBlocks,
        sizes: BatchSizes,
        seed: int | None,
        rank: int,
        world_size: int,
    ) -> None:
        self.blocks = blocks
        self.sizes = sizes
        self.seed = seed  # None: the order of the text
        self.rank = rank
        self.world_size = world_size

    def __len__(self) -> int:
        """Batches of an epoch: as many as a pass over the text has without warm-up."""
        return count_batches(len(self.blocks), self.sizes.batch_size)

    def rows(self, number: int) -> range:
        """The rows of a batch that this rank has."""
        return rows_of_rank(self.sizes.size(number), self.rank, self.world_size)

    def __getitem__(self, number: int) -> Batch:
        rows = self.rows(number)
        if not rows:
            return without_targets(self.blocks)
        in_run = self.sizes.before(number) + np.array(rows)
        passes, positions = np.divmod(in_run, len(self.blocks))  # (B) each
        if self.seed is not None:
            for epoch in range(passes[0], passes[-1] + 1):
                inside = passes == epoch
                positions[inside] = block_order(
                    positions[inside], len(self.blocks), self.seed, epoch
                )
        return cut(self.blocks, positions)


class StreamLoader:
    """The batches of one epoch, from the batch that training has reached.

    `position` gives (batches of the run that are done, those of this epoch) when the first batch
    is drawn; see BlockLoader.
    """

    def __init__(
        self,
        batches: StreamBatches,
        num_workers: int,
        position: Callable[[], tuple[int, int]],
    ) -> None:
        self.batches = batches
        self.num_workers = num_workers
        self.position = position

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        done, done_in_epoch = self.position()
        numbers = range(done, done + len(self) - done_in_epoch)
        yield from load(self.batches, self.batches.blocks, numbers, self.num_workers)
