"""The token store: a folder of memory-mapped token ids, one file a split, and its manifest.

Shapes: B blocks, T block_size tokens.
"""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minigpt.errors import UserError

VERSION = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Manifest:
    """What a store holds and where it came from."""

    version: int
    dtype: str
    tokens: dict[str, int]  # by split
    documents: dict[str, int]  # by split
    largest_id: int
    tokenizer: dict[str, Any]  # what `tokenizer.from_spec` takes
    fingerprint: str  # of the text, the tokenizer and the settings together

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"


class TokenStore:
    """A finished store, opened for reading.

    Raises UserError where the manifest is missing, broken or of another version, or a file's
    size is not what the manifest says.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.manifest = Manifest(**json.loads((folder / MANIFEST).read_text("utf-8")))
        except (OSError, TypeError, ValueError) as error:
            raise UserError(
                f"{folder / MANIFEST} is missing or broken ({type(error).__name__}); "
                "delete the folder and the store is made again"
            ) from None
        if self.manifest.version != VERSION:
            raise UserError(
                f"{folder}: token store version {self.manifest.version}, this minigpt reads "
                f"{VERSION}; delete the folder and the store is made again"
            )

    def tokens(self, split: str) -> NDArray[np.unsignedinteger]:
        """(n_tokens) ids of a split, memory-mapped; empty where the split has none."""
        dtype, count = np.dtype(self.manifest.dtype), self.manifest.tokens[split]
        path = self.folder / f"{split}.bin"
        found = path.stat().st_size if path.exists() else 0
        if found != count * dtype.itemsize:
            raise UserError(
                f"{path} has {found} bytes, its manifest says {count * dtype.itemsize}; "
                "delete the folder and the store is made again"
            )
        if not count:
            return np.empty(0, dtype)
        return np.memmap(path, dtype, mode="r")


def count_blocks(n_tokens: int, block_size: int, stride: int) -> int:
    """How many blocks cover every target: at stride 1 each window, at block_size each token once.

    A block is block_size inputs and the token after each. The last block may be short: its
    missing targets are ignored, never dropped. Literals: 5,120 tokens, 64, 1 -> 5,056;
    316,593,536 tokens, 128, 128 -> 2,473,387.
    """
    targets = n_tokens - 1
    if targets < block_size:
        return 0
    return 1 + math.ceil((targets - block_size) / stride)


class Blocks:
    """Training examples cut from one split's tokens."""

    def __init__(
        self, tokens: NDArray[np.unsignedinteger], block_size: int, stride: int, ignore: int
    ) -> None:
        self.tokens = tokens
        self.block_size = block_size
        self.stride = stride
        self.ignore = ignore  # fills the targets that a last, short block lacks

    def __len__(self) -> int:
        return count_blocks(len(self.tokens), self.block_size, self.stride)

    def batch(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(B) block numbers -> (B, T) inputs and (B, T) targets, the token after each input."""
        at = indices[:, None] * self.stride + np.arange(self.block_size + 1)
        missing = at >= len(self.tokens)
        window = self.tokens[np.minimum(at, len(self.tokens) - 1)].astype(np.int64)
        inputs, targets = window[:, :-1], window[:, 1:]
        if missing.any():
            targets = np.where(missing[:, 1:], self.ignore, targets)
        return inputs, targets
