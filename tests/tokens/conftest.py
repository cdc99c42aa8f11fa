"""Small token stores and corpora."""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from minigpt.config import build, compose_config
from minigpt.tokens.config import DataConfig
from minigpt.tokens.store import MANIFEST, VERSION, TokenStore, shard_path
from minigpt.tokens.tokenizer import CharTokenizer


def write_store(folder: Path, *shards: list[int]) -> TokenStore:
    """A finished store of a hundred characters, its training split in the given shards."""
    folder.mkdir(exist_ok=True)
    records = []
    for number, ids in enumerate(shards):
        path = shard_path(folder, "train", number)
        np.array(ids, np.uint16).tofile(path)
        records.append(
            {"tokens": len(ids), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        )
    tokens = sum(map(len, shards))
    largest = max(max(ids, default=0) for ids in shards)
    manifest = {
        "version": VERSION, "dtype": "uint16", "tokens": {"train": tokens, "val": 0, "test": 0},
        "documents": {"train": 1, "val": 0, "test": 0},
        "shards": {"train": records, "val": [], "test": []},
        "domains": {"numbers": {"documents": 1, "tokens": tokens}}, "duplicates": 0, "empty": 0,
        "longest": {"name": "all", "tokens": tokens}, "largest_id": largest,
        "held_out": [0, 0], "tokenizer": CharTokenizer("".join(map(chr, range(32, 132)))).spec(),
        "text": "",
        "fingerprint": "",
    }  # fmt: skip
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return TokenStore(folder)


@pytest.fixture
def data(tmp_path):
    """The `data` config for a group's option and changed keys."""

    def make(option="files", **changes):
        config = build(
            DataConfig, "data", compose_config([f"data={option}", *_needed(option)]).data
        )
        return dataclasses.replace(config, **{"root": str(tmp_path / "stores"), **changes})

    return make


def _needed(option):
    needed = {
        "files": "data.files=[none.txt]",
        "hub": "data.hub_name=none/none",
        "mix": "+data.sources.a={source: sample}",
    }
    return [needed[option]] if option in needed else []
