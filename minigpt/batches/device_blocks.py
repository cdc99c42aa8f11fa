"""Blocks whose tokens are on the GPU, for text small enough to be held there.

Shapes: B batch_size, T block_size.
"""

import numpy as np
import torch
from torch import Tensor

from minigpt.batches.blocks import Blocks
from minigpt.batches.order import Indices


class DeviceBlocks:
    """The same blocks as `Blocks`, cut on the device: only block numbers are copied to it."""

    def __init__(self, blocks: Blocks, device: torch.device) -> None:
        self.blocks = blocks
        self.ignore = blocks.ignore
        # The last block may reach past the end, where there are no targets.
        past_the_end = np.full(blocks.block_size, blocks.ignore, np.int32)
        ids = np.concatenate([blocks.tokens[:], past_the_end], dtype=np.int32, casting="unsafe")
        self.ids = torch.from_numpy(ids).to(device)
        self.window = torch.arange(blocks.block_size + 1, device=device)

    @staticmethod
    def nbytes(blocks: Blocks) -> int:
        return 4 * (len(blocks.tokens) + blocks.block_size)

    def __len__(self) -> int:
        return len(self.blocks)

    def batch(self, indices: Indices) -> tuple[Tensor, Tensor]:
        """(B) block numbers -> (B, T) inputs and (B, T) targets, as Blocks.batch, on the device."""
        starts = torch.from_numpy(indices * self.blocks.stride)
        if self.ids.is_cuda:  # a copy from pageable memory would wait for all queued work
            starts = starts.pin_memory()
        starts = starts.to(self.ids.device, non_blocking=True)
        window = self.ids[starts[:, None] + self.window].long()
        return window[:, :-1].clamp_min(0), window[:, 1:]
