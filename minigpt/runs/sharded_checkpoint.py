"""A checkpoint whose tensors lie in many files, each written by another process.

last.ckpt then holds all but the tensors of TENSOR_PARTS, a key in place of each, and the name of a
folder in last.shards/ where torch.distributed.checkpoint keeps them. It is written last, so it
never names a folder that is not whole.
"""

import io
import math
import pickle
import re
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load

from minigpt.errors import UserError
from minigpt.ordinary_file import check_ordinary
from minigpt.runs.checkpoint_limits import check_archive
from minigpt.runs.checkpoints import RAW_WEIGHTS, SHARDS, shards_folder

TENSOR_PARTS = ("state_dict", RAW_WEIGHTS, "optimizer_states")
METADATA = ".metadata"
METADATA_BYTES = 32 << 20
FILE_NAME = re.compile(r"__\d+_\d+\.distcp")
FOLDER_NAME = re.compile(r"[0-9a-z-]+")

# All that the metadata of tensors is made of; each only stores what it is given.
METADATA_CLASSES = {
    "pathlib": {"PosixPath", "WindowsPath"},
    "pathlib._local": {"PosixPath", "WindowsPath"},  # since Python 3.13
    "torch": {"Size", "float32", "float64", "float16", "bfloat16", "int64", "int32", "bool"},
    "torch.serialization": {"_get_layout"},
    "torch.distributed.checkpoint.metadata": {
        "ChunkStorageMetadata",
        "Metadata",
        "MetadataIndex",
        "StorageMeta",
        "TensorProperties",
        "TensorStorageMetadata",
        "_MEM_FORMAT_ENCODING",
    },
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
}


def map_leaves(tree: Any, function: Callable[[Any, str], Any], place: str = "") -> Any:
    """The same dicts and lists with function(leaf, its place) in place of each leaf."""
    if isinstance(tree, dict):
        return {k: map_leaves(v, function, f"{place}/{k}") for k, v in tree.items()}
    if isinstance(tree, list):
        return [map_leaves(v, function, f"{place}/{i}") for i, v in enumerate(tree)]
    return function(tree, place)


def with_tensors(checkpoint: dict[str, Any], tensors: dict[str, Tensor]) -> dict[str, Any]:
    """A checkpoint of a process that trains alone: each tensor is in the place of its key."""

    def tensor_or_leaf(leaf: Any, place: str) -> Any:
        return tensors.get(leaf, leaf) if isinstance(leaf, str) else leaf

    parts = {
        key: map_leaves(checkpoint[key], tensor_or_leaf)
        for key in TENSOR_PARTS
        if key in checkpoint
    }
    whole = {**checkpoint, **parts}
    del whole[SHARDS]
    return whole


def read_tensors(path: Path, checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    """All tensors of a sharded checkpoint, whole, on the CPU.

    Raises UserError where they are missing, or not what the checkpoint says.
    """
    reader = ShardReader(path, checkpoint)
    tensors = {
        key: torch.empty(size, dtype=dtype) for key, (size, dtype) in reader.shapes().items()
    }
    with reader.explained(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # as is asked
        load(tensors, storage_reader=reader, no_dist=True)
    return tensors


class ShardReader(FileSystemReader):
    """Reads a checkpoint's shards; nothing in their files is executed.

    Raises UserError where they are missing, damaged, or claim more memory than they have bytes.
    """

    def __init__(self, path: Path, checkpoint: dict[str, Any]) -> None:
        self.checkpoint_path = path
        shards = checkpoint[SHARDS]
        if not (
            isinstance(shards, dict)
            and isinstance(shards.get("folder"), str)
            and FOLDER_NAME.fullmatch(shards["folder"])
        ):
            raise self._error("their folder has no proper name")
        self.folder = shards_folder(path) / shards["folder"]
        self.checksum = shards.get("checksum")
        super().__init__(self.folder)

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        with self.explained():
            check_ordinary(self.folder / METADATA, METADATA_BYTES)
            content = (self.folder / METADATA).read_bytes()
        if zlib.crc32(content) != self.checksum:
            raise self._error(f"the checksum of {METADATA} is wrong")
        with self.explained():
            metadata = _MetadataUnpickler(io.BytesIO(content)).load()
            self._check(metadata)
        metadata.storage_meta.load_id = self.load_id
        return cast(Metadata, metadata)

    def shapes(self) -> dict[str, tuple[torch.Size, torch.dtype]]:
        """Of each tensor, by its key."""
        described = self.read_metadata().state_dict_metadata
        return {
            key: (d.size, d.properties.dtype)
            for key, d in described.items()
            if isinstance(d, TensorStorageMetadata)  # read_metadata refuses others
        }

    def check_files(self, part: int = 0, parts: int = 1) -> None:
        """Read every `parts`-th tensor, which torch saved with checksums, and compare them."""
        entries = list(self.read_metadata().storage_data.values())
        for entry in entries[part::parts]:
            with self.explained(), (self.folder / entry.relative_path).open("rb") as file:
                file.seek(entry.offset)
                with zipfile.ZipFile(io.BytesIO(file.read(entry.length))) as archive:
                    check_archive(archive)
                    record = archive.testzip()
            if record is not None:
                raise self._error(f"the checksum of {record} in {entry.relative_path} is wrong")

    def _check(self, metadata: Any) -> None:
        if not isinstance(metadata, Metadata) or not isinstance(metadata.storage_data, dict):
            raise self._error(f"{METADATA} is not that of a checkpoint")
        held = dict.fromkeys(metadata.state_dict_metadata, 0)
        for index, entry in metadata.storage_data.items():
            file = self.folder / entry.relative_path
            if not FILE_NAME.fullmatch(entry.relative_path) or entry.transform_descriptors:
                raise self._error(f"{METADATA} names a file that none of them is")
            if not file.is_file() or entry.offset + entry.length > file.stat().st_size:
                raise self._error(f"{file.name} is missing or cut short")
            held[index.fqn] += entry.length
        for key, described in metadata.state_dict_metadata.items():
            if not isinstance(described, TensorStorageMetadata):
                raise self._error(f"{key} is not a tensor")
            size = math.prod(described.size) * described.properties.dtype.itemsize
            if size > held[key]:
                raise self._error(f"{key} claims {size:,} bytes and has {held[key]:,}")

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn whatever the reading of a damaged file raises into one line."""
        try:
            yield
        except UserError:
            raise
        except (Exception, CheckpointException) as error:
            # torch's exception keeps what each process met.
            failures = getattr(error, "failures", None)
            cause = next(iter(failures.values()))[0] if failures else error
            if isinstance(cause, UserError):
                raise cause from None
            raise self._error(f"one cannot be read ({type(cause).__name__})") from None

    def _error(self, reason: str) -> UserError:
        return UserError(
            f"{self.checkpoint_path} is damaged: of the tensors in "
            f"{shards_folder(self.checkpoint_path).name}/, {reason}"
        )


class _MetadataUnpickler(pickle._Unpickler):
    """Makes nothing but the descriptions of tensors.

    In Python: the one in C takes as much memory as the largest number of a memo says.
    """

    def find_class(self, module: str, name: str) -> Any:
        if name not in METADATA_CLASSES.get(module, ()):
            raise pickle.UnpicklingError(f"{module}.{name} is not a description of tensors")
        return super().find_class(module, name)
