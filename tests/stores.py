"""Writes small token stores by hand."""

import hashlib
import json
from pathlib import Path

import numpy as np

from minigpt.tokens.document_list import document_line
from minigpt.tokens.manifest import MANIFEST, VERSION
from minigpt.tokens.sharded import document_list_path, shard_path
from minigpt.tokens.store import TokenStore
from minigpt.tokens.tokenizer import CharTokenizer


def write_store(folder: Path, *shards: list[int]) -> TokenStore:
    """A finished store of a hundred characters, its training split in the given shards."""
    folder.mkdir(exist_ok=True)
    records = []
    for number, ids in enumerate(shards):
        path = shard_path(folder, "train", number)
        np.array(ids, np.uint16).tofile(path)
        names = document_list_path(folder, "train", number)
        names.write_bytes(document_line(f"{number}", "numbers", len(ids)))
        records.append(
            {
                "tokens": len(ids),
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "list_bytes": names.stat().st_size,
                "list_sha256": hashlib.sha256(names.read_bytes()).hexdigest(),
            }
        )
    tokens = sum(map(len, shards))
    largest = max(max(ids, default=0) for ids in shards)
    manifest = {
        "version": VERSION, "dtype": "uint16", "tokens": {"train": tokens, "val": 0, "test": 0},
        "documents": {"train": len(shards), "val": 0, "test": 0},
        "shards": {"train": records, "val": [], "test": []},
        "domains": {"numbers": {"documents": len(shards), "tokens": tokens}},
        "duplicates": 0, "empty": 0,
        "longest": {"name": "all", "tokens": tokens}, "largest_id": largest,
        "held_out": [0, 0], "tokenizer": CharTokenizer("".join(map(chr, range(32, 132)))).spec(),
        "text": "",
        "fingerprint": "",
    }  # fmt: skip
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return TokenStore(folder)
