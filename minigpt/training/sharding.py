"""Weights, gradients and moments divided among the processes: trainer.strategy=fsdp2.

Each process holds an equal share of every tensor (ZeRO, Rajbhandari et al., 2020), and gathers the
weights of a block when it computes with them. torch's fully_shard replaces each parameter by a
DTensor, whose first dimension is divided.
"""

import secrets
import shutil
import zlib
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.types import _PATH
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, Shard, distribute_tensor, zeros

from minigpt.atomic_file import explain_disk_errors
from minigpt.errors import UserError
from minigpt.model.gpt import GPT
from minigpt.runs.checkpoints import SHARDS, read_content, shards_folder
from minigpt.runs.sharded_checkpoint import (
    METADATA,
    TENSOR_PARTS,
    ShardReader,
    map_leaves,
    with_tensors,
)
from minigpt.runs.stored_model import empty_network
from minigpt.training.lightning_seams import OneAxisStrategy, data_parallel_axis
from minigpt.training.processes import raise_together


class ShardedStrategy(OneAxisStrategy):
    """Lightning's ModelParallelStrategy with checkpoints that survive a crash.

    A run can go on from the checkpoint of any number of processes, sharded or not.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], filepath: _PATH, storage_options: Any | None = None
    ) -> None:
        """Write every process's share; then the checkpoint that names them.

        Raises UserError in every process where the disk refuses, or what it gives back is not what
        was written; the old checkpoint stays.
        """
        path = Path(self.broadcast(str(filepath)))
        version = self.broadcast(f"{checkpoint['global_step']}-{secrets.token_hex(4)}")
        folder = shards_folder(path) / version
        tensors, rest = take_tensors(checkpoint)
        try:
            with raise_together():
                _write_tensors(tensors, folder)
                rest[SHARDS] = {
                    "folder": version,
                    "checksum": zlib.crc32((folder / METADATA).read_bytes()),
                }
                ShardReader(path, rest).check_files(self.global_rank, self.world_size)
            with raise_together():
                if self.is_global_zero:
                    self.checkpoint_io.save_checkpoint(rest, path)
        except UserError:
            if self.is_global_zero:
                shutil.rmtree(folder, ignore_errors=True)
            raise

    def load_checkpoint(
        self, checkpoint_path: _PATH, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """A checkpoint's content, of its tensors this process's share; nothing is executed."""
        path = Path(self.broadcast(str(checkpoint_path)))
        with raise_together():
            content = read_content(path)
        if SHARDS not in content:
            return self._divided(content)
        reader = ShardReader(path, content)
        tensors = {key: self._empty(size, dtype) for key, (size, dtype) in reader.shapes().items()}
        with reader.explained():
            load(tensors, storage_reader=reader)
        return with_tensors(content, tensors)

    def _divided(self, content: dict[str, Any]) -> dict[str, Any]:
        axis = data_parallel_axis(self.device_mesh)

        def share(leaf: Any, _: str) -> Any:
            if not isinstance(leaf, Tensor) or leaf.dim() == 0:
                return leaf
            # Every process has read the whole, so none has to send it.
            return distribute_tensor(leaf, axis, [Shard(0)], src_data_rank=None)

        return {
            key: map_leaves(part, share) if key in TENSOR_PARTS else part
            for key, part in content.items()
        }

    def _empty(self, size: torch.Size, dtype: torch.dtype) -> Tensor:
        if not size:
            return torch.empty(size, dtype=dtype)
        return zeros(
            size,
            dtype=dtype,
            device_mesh=data_parallel_axis(self.device_mesh),
            placements=[Shard(0)],
        )


def shard(net: GPT, axis: DeviceMesh) -> None:
    """Divide a network's parameters among the processes of an axis, block by block, in place."""
    for block in net.blocks:
        fully_shard(block, mesh=axis)
    fully_shard(net, mesh=axis)
    register_fsdp_forward_method(net, "hidden")


def is_sharded(net: GPT) -> bool:
    """True if each process holds a share of the network's parameters."""
    return isinstance(net, FSDPModule)


def release_gathered(net: GPT) -> None:
    """Keep only this process's share again of what a forward pass without a backward gathered."""
    if isinstance(net, FSDPModule):
        net.reshard()


def whole_network(net: GPT) -> GPT:
    """The network with all of its weights; where they are divided, every process has to call this.

    Then the first process gets a copy on the CPU, in eval mode, and the others one without values.
    """
    if not is_sharded(net):
        return net
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    weights = get_model_state_dict(net, options=options)
    copy = empty_network(net.config)
    if weights:
        copy.load_state_dict(weights, assign=True)
    return copy.eval()


def local_share(tensor: Tensor) -> Tensor:
    """This process's part of a tensor, which shares its memory; a tensor that is whole as it is."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor; where it is divided, every process has to call this."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def take_tensors(checkpoint: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(the tensors of a checkpoint by their keys, the checkpoint with keys in their places)."""
    tensors: dict[str, Tensor] = {}
    keys: dict[tuple[Any, ...], str] = {}  # of the memory of a tensor: tied weights are one

    def take(leaf: Any, place: str) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        local = local_share(leaf)
        address = local.untyped_storage().data_ptr()
        key = keys.setdefault((address, leaf.shape), place) if address else place
        tensors[key] = leaf
        return key

    rest = {
        key: map_leaves(part, take, key) if key in TENSOR_PARTS else part
        for key, part in checkpoint.items()
    }
    return tensors, rest


def _write_tensors(tensors: dict[str, Tensor], folder: Path) -> None:
    with explain_disk_errors(folder):
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            save(tensors, storage_writer=FileSystemWriter(folder))
        except CheckpointException as error:
            # In all processes alike: what the first of those that failed has met.
            raise next(iter(error.failures.values()))[0] from None
