"""The token store: shards of token ids, lists of their documents, and a manifest of both."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from minigpt.errors import UserError
from minigpt.json_text import parse_json
from minigpt.tokens.document_list import StoredDocument, read_documents
from minigpt.tokens.manifest import MANIFEST, VERSION, parse_manifest
from minigpt.tokens.sharded import REMAKE, Tokens, document_list_path, shard_path
from minigpt.tokens.split import SPLITS


class TokenStore:
    """A finished store, opened for reading.

    Raises UserError if the manifest is missing, broken, of another version or contradicts itself,
    or if a file has another size than the manifest says.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / MANIFEST
        try:
            content = parse_json(path.read_text("utf-8"))
            version = int(content["version"])
        except (OSError, TypeError, ValueError, KeyError, OverflowError) as error:
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
                _check_size(document_list_path(folder, split, number), shard["list_bytes"])

    def tokens(self, split: str) -> "Tokens":
        """The ids of a split, memory-mapped; empty if the split has none."""
        return Tokens(self.folder, split, self.manifest)

    def documents(self, split: str) -> Iterator[StoredDocument]:
        """The documents of a split, in the order of their tokens."""
        start = 0
        for number, shard in enumerate(self.manifest.shards[split]):
            yield from read_documents(document_list_path(self.folder, split, number), start)
            start += shard["tokens"]

    def verify(self) -> list[Path]:
        """The files whose sha256 is not that of the manifest."""
        damaged = []
        for split in SPLITS:
            for number, shard in enumerate(self.manifest.shards[split]):
                files = {
                    shard_path(self.folder, split, number): shard["sha256"],
                    document_list_path(self.folder, split, number): shard["list_sha256"],
                }
                for path, sha256 in files.items():
                    with path.open("rb") as file:
                        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                            damaged.append(path)
        return damaged


def ends_documents(store: TokenStore, split: str, separator: int) -> bool:
    """True if an id ends a split's first document: then it ends all that were not cut."""
    for document in store.documents(split):
        if document.tokens:
            last = document.start + document.tokens - 1
            return bool(store.tokens(split)[last : last + 1][0] == separator)
    return False


def _check_size(path: Path, expected: int) -> None:
    try:
        found = path.stat().st_size
    except OSError:
        raise UserError(f"{path} is missing; {REMAKE}") from None
    if found != expected:
        raise UserError(f"{path} has {found} bytes, its manifest says {expected}; {REMAKE}")
