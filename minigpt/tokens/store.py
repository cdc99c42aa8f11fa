"""The token store: a folder of shards of token ids, and a manifest that describes them."""

import hashlib
import json
from pathlib import Path

import numpy as np

from minigpt.errors import UserError
from minigpt.tokens.manifest import MANIFEST, VERSION, parse_manifest
from minigpt.tokens.sharded import REMAKE, Tokens, shard_path
from minigpt.tokens.split import SPLITS


class TokenStore:
    """A finished store, opened for reading.

    Raises UserError if the manifest is missing, broken, of another version or contradicts itself,
    or if a shard has another size than the manifest says.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / MANIFEST
        try:
            content = json.loads(path.read_text("utf-8"))
            version = int(content["version"])
        except (OSError, TypeError, ValueError, KeyError) as error:
            raise UserError(
                f"{path} is missing or broken ({type(error).__name__}); {REMAKE}"
            ) from None
        if version != VERSION:
            age = "newer" if version > VERSION else "older"
            way_out = f"use a newer minigpt, or {REMAKE}" if age == "newer" else REMAKE
            raise UserError(
                f"{folder}: token store version {version}, {age} than the {VERSION} that this "
                f"minigpt reads; {way_out}"
            )
        try:
            self.manifest = parse_manifest(content)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path} is broken ({error}); {REMAKE}") from None
        dtype = np.dtype(self.manifest.dtype)
        for split in SPLITS:
            for number, shard in enumerate(self.manifest.shards[split]):
                _check_size(shard_path(folder, split, number), shard["tokens"] * dtype.itemsize)

    def tokens(self, split: str) -> "Tokens":
        """The ids of a split, memory-mapped; empty if the split has none."""
        return Tokens(self.folder, split, self.manifest)

    def verify(self) -> list[Path]:
        """The shards whose sha256 is not that of the manifest."""
        damaged = []
        for split in SPLITS:
            for number, shard in enumerate(self.manifest.shards[split]):
                path = shard_path(self.folder, split, number)
                with path.open("rb") as file:
                    if hashlib.file_digest(file, "sha256").hexdigest() != shard["sha256"]:
                        damaged.append(path)
        return damaged


def _check_size(path: Path, expected: int) -> None:
    try:
        found = path.stat().st_size
    except OSError:
        raise UserError(f"{path} is missing; {REMAKE}") from None
    if found != expected:
        raise UserError(f"{path} has {found} bytes, its manifest says {expected}; {REMAKE}")
