"""The manifest of a token store: what it holds and where that came from, checked on reading."""

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from minigpt.errors import check_types
from minigpt.tokens.split import SPLITS
from minigpt.tokens.tokenizer import id_dtype

VERSION = 3
MANIFEST = "manifest.json"

# What the store carries of a tokenizer that no package has, by the first word of its name.
_TABLES = {"char": ["alphabet"], "bpe": ["merged"]}


@dataclass(frozen=True)
class Manifest:
    """What a store holds and where it came from."""

    version: int
    dtype: str
    tokens: dict[str, int]  # by split
    documents: dict[str, int]  # by split
    # by split, in order: size and sha256 of each shard and of its list of documents
    shards: dict[str, list[dict[str, Any]]]
    domains: dict[str, dict[str, int]]  # documents and tokens of each part of the corpus
    duplicates: int  # documents left out because the same text came before
    empty: int  # documents left out because they have no text
    longest: dict[str, Any]  # name and tokens of the longest document
    largest_id: int
    held_out: list[float]  # texts whose hash lies below these are test, then validation
    tokenizer: dict[str, Any]  # what `tokenizer.from_spec` takes
    text: str  # fingerprint of the source: sha256 of files, revisions of datasets
    fingerprint: str  # of the text, the tokenizer and the settings together

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"


def parse_manifest(content: dict[str, Any]) -> Manifest:
    """A manifest whose parts agree with each other.

    Raises AttributeError, KeyError, TypeError or ValueError where they do not.
    """
    if missing := {field.name for field in fields(Manifest)} ^ content.keys():
        raise ValueError(f"it lacks or adds {', '.join(sorted(missing))}")
    manifest = Manifest(**content)
    check_types("manifest", manifest)
    for split in SPLITS:
        counts = [shard["tokens"] for shard in manifest.shards[split]]
        if any(not isinstance(count, int) or count < 0 for count in counts):
            raise ValueError(f"{split} has a shard of no size")
        for shard in manifest.shards[split]:
            _require(shard, "sha256", "list_bytes", "list_sha256")
        if sum(counts) != manifest.tokens[split]:
            raise ValueError(f"the shards of {split} do not add up to its tokens")
    if manifest.shards.keys() != set(SPLITS):
        raise ValueError("it has other splits than train, val and test")
    for counts_of in (manifest.tokens, manifest.documents):
        _require(counts_of, *SPLITS)
    for domain in manifest.domains.values():
        _require(domain, "documents", "tokens")
    _require(manifest.longest, "name", "tokens")
    table = _TABLES.get(str(manifest.tokenizer.get("name")).partition("-")[0], [])
    _require(manifest.tokenizer, "name", "n_vocab", "fingerprint", *table)
    if not 0 <= manifest.largest_id < manifest.tokenizer["n_vocab"]:
        raise ValueError("its largest id is outside its tokenizer's vocabulary")
    if np.dtype(manifest.dtype) != id_dtype(manifest.tokenizer["n_vocab"] - 1):
        raise ValueError(f"its ids cannot be {manifest.dtype}")
    return manifest


def _require(record: dict[str, Any], *keys: str) -> None:
    if missing := [key for key in keys if key not in record]:
        raise ValueError(f"it lacks {missing[0]} where {', '.join(keys)} belong")
