"""Blocks that lie on a device, for text small enough to be held there.

Shapes: B batch_size, T block_size.
"""

import numpy as np
import torch
from torch import Tensor

from minigpt.batches.blocks import Blocks
from minigpt.batches.order import Indices


class DeviceBlocks:
    """Blocks whose tokens lie on a device, so that a batch's numbers are all that travels."""

    def __init__(self, blocks: Blocks, device: torch.device) -> None:
        self.blocks = blocks
        self.ignore = blocks.ignore
        # The last block may reach past the end, where nothing is to be predicted.
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
        """(B) block numbers -> what Blocks.batch gives, on the device."""
        starts = torch.from_numpy(indices * self.blocks.stride)
        if self.ids.is_cuda:  # from pageable memory the copy would wait for all work under way
            starts = starts.pin_memory()
        starts = starts.to(self.ids.device, non_blocking=True)
        window = self.ids[starts[:, None] + self.window].long()
        return window[:, :-1].clamp_min(0), window[:, 1:]
