"""LightningDataModule: a token store -> batches, in an order that needs no state to resume.

Shapes: B batch_size, T block_size.
"""

from collections.abc import Callable, Iterator
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from minigpt.errors import UserError
from minigpt.model.loss import IGNORE
from minigpt.tokens.config import DataConfig
from minigpt.tokens.order import Indices, block_order
from minigpt.tokens.prepare import prepare
from minigpt.tokens.store import Blocks

ORDERED = 64  # batches whose order is worked out at a time

Batch = tuple[Tensor, Tensor]  # (B, T) inputs, (B, T) targets


class TokenDataModule(pl.LightningDataModule):
    """Streams the blocks of a corpus's token store, which it makes where it is missing.

    Raises UserError where a split that is needed has fewer tokens than one block.
    """

    def __init__(self, config: DataConfig, block_size: int, seed: int) -> None:
        super().__init__()
        self.config = config
        self.seed = seed
        self.store = prepare(config).store
        manifest = self.store.manifest
        self.vocab_size: int = config.vocab_size or manifest.tokenizer["n_vocab"]
        self.blocks = {
            "train": Blocks(self.store.tokens("train"), block_size, config.stride, IGNORE),
            # Held-out text is read once, whatever the stride, so that each token counts once.
            "val": Blocks(self.store.tokens("val"), block_size, block_size, IGNORE),
            "test": Blocks(self.store.tokens("test"), block_size, block_size, IGNORE),
        }
        self._on_device: dict[str, DeviceBlocks] = {}
        ways_out = {
            "train": "give more text or a smaller model.block_size",
            "val": "give more text, or name some: data.val_files=[...]",
        }
        for split, way_out in ways_out.items():
            if not len(self.blocks[split]):
                raise UserError(
                    f"data.source={config.source}: {split} has {manifest.tokens[split]} tokens in "
                    f"{manifest.documents[split]} documents, one block needs {block_size + 1}; "
                    + way_out
                )

    def order(self) -> dict[str, Any]:
        """What decides, with the seed, which tokens are in which batch."""
        return {
            "text": self.store.manifest.fingerprint,
            "stride": self.config.stride,
            "batch_size": self.config.batch_size,
            "shuffle": self.config.shuffle,
        }

    def check_vocabulary(self, vocab_size: int) -> None:
        """Raises UserError unless every token id of the store fits a model's vocabulary."""
        largest = self.store.manifest.largest_id
        if largest >= vocab_size:
            enough = max(largest + 1, self.vocab_size)
            raise UserError(
                f"model.vocab_size={vocab_size}: data.source={self.config.source} has the token id "
                f"{largest}, which does not fit; set model.vocab_size={enough}"
            )

    def train_dataloader(self) -> "BlockLoader":
        return self._loader("train", self.config.batch_size, self._training_position)

    def val_dataloader(self) -> "BlockLoader":
        return self._loader("val", self.config.eval_batch_size)

    def test_dataloader(self) -> "BlockLoader":
        return self._loader("test", self.config.eval_batch_size)

    def first_batch(self) -> Batch:
        """The first training batch of the first epoch, wherever training stands."""
        return next(iter(self._loader("train", self.config.batch_size)))

    def _training_position(self) -> tuple[int, int]:
        """(epoch, batches of it already done), from the trainer's own progress.

        Read when the first batch is drawn, which is after a checkpoint was restored.
        """
        if self.trainer is None:
            return 0, 0
        loop = self.trainer.fit_loop
        return loop.epoch_progress.current.processed, loop.epoch_loop.batch_progress.current.ready

    def _loader(
        self, split: str, batch_size: int, position: Callable[[], tuple[int, int]] | None = None
    ) -> "BlockLoader":
        rank, world_size = (
            (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        )
        seed = self.seed if split == "train" and self.config.shuffle else None
        blocks = self._nearest(split)
        batches = BlockBatches(blocks, batch_size, seed, rank, world_size)
        # What is on the GPU cannot be cut by another process, and is cut faster than it is asked.
        workers = self.config.num_workers if isinstance(blocks, Blocks) else 0
        return BlockLoader(batches, workers, position)

    def _nearest(self, split: str) -> "Blocks | DeviceBlocks":
        """The blocks of a split, on the GPU where that is wanted and they fit."""
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        if device.type != "cuda" or not self.config.on_gpu:
            return self.blocks[split]
        if split not in self._on_device:
            free, _ = torch.cuda.mem_get_info(device)
            if 4 * DeviceBlocks.nbytes(self.blocks[split]) > free:
                return self.blocks[split]
            self._on_device[split] = DeviceBlocks(self.blocks[split], device)
        return self._on_device[split]


class DeviceBlocks:
    """Blocks whose tokens lie on a device, so that a batch's numbers are all that travels."""

    def __init__(self, blocks: Blocks, device: torch.device) -> None:
        self.blocks = blocks
        # The last block may reach past the end, where nothing is to be predicted.
        past_the_end = np.full(blocks.block_size, IGNORE, np.int32)
        ids = np.concatenate([blocks.tokens[:], past_the_end], dtype=np.int32, casting="unsafe")
        self.ids = torch.from_numpy(ids).to(device)
        self.window = torch.arange(blocks.block_size + 1, device=device)

    @staticmethod
    def nbytes(blocks: Blocks) -> int:
        return 4 * (len(blocks.tokens) + blocks.block_size)

    def __len__(self) -> int:
        return len(self.blocks)

    def batch(self, indices: Indices) -> Batch:
        """(B) block numbers -> what Blocks.batch gives, on the device."""
        starts = torch.from_numpy(indices * self.blocks.stride)
        if self.ids.is_cuda:  # from pageable memory the copy would wait for all work under way
            starts = starts.pin_memory()
        starts = starts.to(self.ids.device, non_blocking=True)
        window = self.ids[starts[:, None] + self.window].long()
        return window[:, :-1].clamp_min(0), window[:, 1:]


class BlockBatches(Dataset[Batch]):
    """Batch number -> batch, for one rank; workers and ranks share one global order."""

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
        self.seed = seed  # None: in the order of the text
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self._ordered: tuple[int, int, Indices] = (-1, -1, np.empty(0, np.int64))

    def __len__(self) -> int:
        return -(-len(self.blocks) // (self.batch_size * self.world_size))  # the last may be small

    def __getitem__(self, number: int) -> Batch:
        start = (number * self.world_size + self.rank) * self.batch_size
        n_blocks = len(self.blocks)
        if start >= n_blocks:
            # This rank has nothing left but must take part: a block without a single target.
            inputs, targets = self._cut(np.zeros(1, np.int64))
            return inputs, torch.full_like(targets, IGNORE)
        return self._cut(self._order(number)[: n_blocks - start])

    def _cut(self, indices: Indices) -> Batch:
        batch = self.blocks.batch(indices)
        return torch.as_tensor(batch[0]), torch.as_tensor(batch[1])

    def _order(self, number: int) -> Indices:
        """(B) blocks of a batch; places past the last block hold no block's number.

        Many batches at a time, since a call of numpy costs as much for one as for hundreds.
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
    """The batches of one epoch, from wherever training stands in it.

    It keeps no place of its own: epoch and batch come from the trainer, so a resumed run draws
    exactly what an undisturbed one would have, without skipping through what came before.
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
        self.pinned = torch.cuda.is_available() and isinstance(batches.blocks, Blocks)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        start = 0
        if self.position is not None:
            self.batches.epoch, start = self.position()
        yield from DataLoader(
            self.batches,
            batch_size=None,
            sampler=range(start, len(self)),
            num_workers=self.num_workers,
            pin_memory=self.pinned,  # so that a copy to the GPU is not waited for
        )
