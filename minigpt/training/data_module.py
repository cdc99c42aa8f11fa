"""LightningDataModule: a token store -> batches, in an order that needs no state to resume.

Shapes: B batch_size, T block_size.
"""

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch

from minigpt.batches.blocks import Blocks
from minigpt.batches.config import DataConfig
from minigpt.batches.device_blocks import DeviceBlocks
from minigpt.batches.loader import Batch, BlockBatches, BlockLoader
from minigpt.errors import UserError
from minigpt.model.loss import IGNORE
from minigpt.tokens.prepare import prepare
from minigpt.training.lightning_seams import position


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
        return position(self.trainer) if self.trainer else (0, 0)

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
