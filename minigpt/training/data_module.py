"""LightningDataModule: a token store -> batches, in an order that can resume without saved state.

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
from minigpt.batches.stream import StreamBatches, StreamLoader
from minigpt.batches.warmup import BatchSizes, BatchWarmup
from minigpt.errors import UserError
from minigpt.model.loss import IGNORE
from minigpt.tokens.prepare import prepare
from minigpt.tokens.store import TokenStore
from minigpt.tokens.tokenizer import Tokenizer
from minigpt.training.lightning_seams import position


class TokenDataModule(pl.LightningDataModule):
    """The batches of a corpus.

    `prepare_data` makes the token store if it is missing and `setup` opens it. Both do nothing
    when called again. Everything but `config` and `seed` needs `setup`.
    tokenizer: makes the ids in place of the one that the configuration names.
    uploads: whether a new store is put at the URL of data.root.
    """

    def __init__(
        self,
        config: DataConfig,
        block_size: int,
        seed: int,
        tokenizer: Tokenizer | None = None,
        *,
        uploads: bool = True,
    ) -> None:
        super().__init__()
        self.config = config
        self.block_size = block_size
        self.seed = seed
        self.tokenizer = tokenizer
        self.uploads = uploads
        self._prepared: TokenStore | None = None
        self._blocks: dict[str, Blocks] | None = None
        self._on_device: dict[str, DeviceBlocks] = {}

    def prepare_data(self) -> None:
        """Makes the token store if it is missing; of several processes one makes it."""
        # Once only: text that changes during the run must not start another store.
        if self._prepared is None:
            prepared = prepare(self.config, self.tokenizer, uploads=self.uploads)
            self._prepared = prepared.store

    def setup(self, stage: str | None = None) -> None:
        """Opens the store for every stage at once.

        Raises UserError if training or validation has fewer tokens than one block.
        """
        if self._blocks is not None:
            return
        self.prepare_data()  # Lightning calls it in one process of a machine only
        strides = {"train": self.config.stride, "val": self.block_size, "test": self.block_size}
        # Held-out text is read without overlap, whatever the stride: each token counts once.
        blocks = {
            split: Blocks(self.store.tokens(split), self.block_size, stride, IGNORE)
            for split, stride in strides.items()
        }
        ways_out = {
            "train": "give more text or a smaller model.block_size",
            "val": "give more text, or name some: data.val_files=[...]",
        }
        manifest = self.store.manifest
        for split, way_out in ways_out.items():
            if not len(blocks[split]):
                raise UserError(
                    f"data.source={self.config.source}: {split} has {manifest.tokens[split]} "
                    f"tokens in {manifest.documents[split]} documents, one block needs "
                    f"{self.block_size + 1}; {way_out}"
                )
        self._blocks = blocks

    @property
    def store(self) -> TokenStore:
        """The token store."""
        assert self._prepared is not None, "call prepare_data() and setup() first"
        return self._prepared

    @property
    def blocks(self) -> dict[str, Blocks]:
        """The blocks of each split."""
        assert self._blocks is not None, "call setup() first"
        return self._blocks

    @property
    def vocab_size(self) -> int:
        """The vocabulary that a model needs for this corpus."""
        return self.config.vocab_size or int(self.store.manifest.tokenizer["n_vocab"])

    def order(self) -> dict[str, Any]:
        """Everything but the seed that decides which tokens are in which batch."""
        return {
            "text": self.store.manifest.fingerprint,
            "stride": self.config.stride,
            "batch_size": self.config.batch_size,
            "batch_warmup": self.config.batch_warmup,
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

    def train_dataloader(self) -> BlockLoader | StreamLoader:
        if self.config.warmup is None:
            return self._loader("train", self.config.batch_size, self._training_position)
        batches = self._stream(self.config.warmup)
        return StreamLoader(batches, self._workers(batches.blocks), self._stream_position)

    def val_dataloader(self) -> BlockLoader:
        return self._loader("val", self.config.eval_batch_size)

    def test_dataloader(self) -> BlockLoader:
        return self._loader("test", self.config.eval_batch_size)

    def first_batch(self) -> Batch:
        """The first training batch of the first epoch, also when training is further on.

        The same in all processes: the first process's, since another's can be without a block.
        """
        if self.config.warmup is not None:
            return self._stream(self.config.warmup, rank=0)[0]
        return next(iter(self._loader("train", self.config.batch_size, rank=0)))

    def rows_of_training_batch(self, batch_idx: int) -> tuple[range, int]:
        """The rows of a batch of this epoch that this process has, and the batch's rows in all."""
        if self.config.warmup is not None:
            number = self.trainer.global_step if self.trainer else batch_idx
            stream = self._stream(self.config.warmup)
            return stream.rows(number), stream.sizes.size(number)
        batches = self._batches("train", self.config.batch_size)
        return batches.rows(batch_idx), batches.size(batch_idx)

    def _training_position(self) -> tuple[int, int]:
        """(epoch, batches of it that are done), from the trainer's progress.

        The loader asks when the first batch is drawn, after a checkpoint was restored.
        """
        return position(self.trainer) if self.trainer else (0, 0)

    def _stream_position(self) -> tuple[int, int]:
        """(batches of the run that are done, those of this epoch), as above."""
        done_in_epoch = self._training_position()[1]
        return self.trainer.global_step if self.trainer else 0, done_in_epoch

    def _stream(self, warmup: BatchWarmup, rank: int | None = None) -> StreamBatches:
        """The training batches where they grow."""
        world_size, seed = self._world_size(), self.seed if self.config.shuffle else None
        sizes = BatchSizes(warmup, self.config.batch_size)
        rank = self._rank() if rank is None else rank
        return StreamBatches(self._placed("train"), sizes, seed, rank, world_size)

    def _loader(
        self,
        split: str,
        batch_size: int,
        start: Callable[[], tuple[int, int]] | None = None,
        rank: int | None = None,  # by default this process's
    ) -> BlockLoader:
        batches = self._batches(split, batch_size, rank)
        return BlockLoader(batches, self._workers(batches.blocks), start)

    def _batches(self, split: str, batch_size: int, rank: int | None = None) -> BlockBatches:
        rank = self._rank() if rank is None else rank
        seed = self.seed if split == "train" and self.config.shuffle else None
        return BlockBatches(self._placed(split), batch_size, seed, rank, self._world_size())

    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer else 0

    def _world_size(self) -> int:
        return self.trainer.world_size if self.trainer else 1

    def _workers(self, blocks: Blocks | DeviceBlocks) -> int:
        # Blocks on the GPU cannot be cut by another process, and need no help.
        return self.config.num_workers if isinstance(blocks, Blocks) else 0

    def _placed(self, split: str) -> Blocks | DeviceBlocks:
        """The blocks of a split, on the GPU if data.on_gpu says so and they fit."""
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        if device.type != "cuda" or not self.config.on_gpu:
            return self.blocks[split]
        if split not in self._on_device:
            free, _ = torch.cuda.mem_get_info(device)
            if 4 * DeviceBlocks.nbytes(self.blocks[split]) > free:
                return self.blocks[split]
            self._on_device[split] = DeviceBlocks(self.blocks[split], device)
        return self._on_device[split]
