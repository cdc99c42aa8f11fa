"""The token store: shards of token ids, lists of their documents, and a manifest of both."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from minigpt.errors import UserError
from minigpt.json_text import parse_json
from minigpt.ordinary_file import read_text
from minigpt.tokens.document_list import StoredDocument, read_documents
from minigpt.tokens.manifest import MANIFEST, VERSION, parse_manifest
from minigpt.tokens.object_store import RemoteFolder
from minigpt.tokens.shard_cache import ShardCache
from minigpt.tokens.sharded import REMAKE, Tokens, document_list_path, shard_path
from minigpt.tokens.split import SPLITS


class TokenStore:
    """A finished store, opened for reading.

    Raises UserError if the manifest is missing, broken, of another version or contradicts itself,
    or if a file has another size than the manifest says.
    """

    def __init__(self, folder: Path, cache: ShardCache | None = None) -> None:
        """cache: copies the files of a remote store into the folder as they are needed."""
        self.folder = folder
        self._cache = cache
        path = folder / MANIFEST
        try:
            content = parse_json(read_text(path))
            version = content["version"]
            if type(version) is not int:
                raise TypeError
        except (OSError, TypeError, ValueError, KeyError) as error:
            if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
                raise UserError(f"{path} cannot be read ({error.strerror})") from None
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
        if cache is not None:
            cache.check_sizes({path.name: size for path, size in self._sizes()})
            return
        for path, size in self._sizes():
            _check_size(path, size)

    def _sizes(self) -> Iterator[tuple[Path, int]]:
        """Every file but the manifest, with the bytes that it says."""
        itemsize = np.dtype(self.manifest.dtype).itemsize
        for split in SPLITS:
            for number, shard in enumerate(self.manifest.shards[split]):
                yield shard_path(self.folder, split, number), shard["tokens"] * itemsize
                yield document_list_path(self.folder, split, number), shard["list_bytes"]

    def tokens(self, split: str) -> "Tokens":
        """The ids of a split, memory-mapped; empty if the split has none."""
        return Tokens(self.folder, split, self.manifest, self._cache)

    def documents(self, split: str) -> Iterator[StoredDocument]:
        """The documents of a split, in the order of their tokens.

        Raises UserError where a list is missing or damaged, or goes beyond its shard.
        """
        start = 0
        for number, shard in enumerate(self.manifest.shards[split]):
            path = document_list_path(self.folder, split, number)
            if self._cache is not None:
                self._cache.fetch(path.name, shard["list_sha256"], shard["list_bytes"])
            end = start + shard["tokens"]
            for document in read_documents(path, start):
                if not start <= document.start <= document.start + document.tokens <= end:
                    raise UserError(f"{path} names more tokens than its shard has; {REMAKE}")
                yield document
            start = end

    def verify(self) -> list[Path]:
        """The files whose sha256 is not that of the manifest; those of a remote store are copied.

        Raises UserError where a file at its URL is not the one that the manifest names.
        """
        damaged = []
        for split in SPLITS:
            for number, shard in enumerate(self.manifest.shards[split]):
                files = {
                    shard_path(self.folder, split, number): shard["sha256"],
                    document_list_path(self.folder, split, number): shard["list_sha256"],
                }
                sizes = dict(self._sizes())
                for path, sha256 in files.items():
                    if self._cache is not None:
                        self._cache.fetch(path.name, sha256, sizes[path])
                    with path.open("rb") as file:
                        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                            damaged.append(path)
        return damaged


def open_remote_store(url: str, cache: Path, max_bytes: int) -> TokenStore:
    """The store at a URL, whose files are copied into a folder of the cache as they are needed.

    Raises UserError where it cannot be reached, or is no store.
    """
    copies = ShardCache(RemoteFolder(url), cache, max_bytes)
    return TokenStore(copies.folder, copies)


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
