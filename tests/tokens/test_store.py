"""Blocks: how many there are, what is in them, and that a damaged store is refused."""

import json

import numpy as np
import pytest

from minigpt.errors import UserError
from minigpt.tokens.store import Blocks, TokenStore, count_blocks


@pytest.mark.parametrize(
    ("tokens", "block_size", "stride", "blocks"),
    [
        (5_120, 64, 1, 5_056),  # report A
        (316_593_536, 128, 128, 2_473_387),  # report B
        (65, 64, 1, 1),
        (64, 64, 1, 0),
        (0, 64, 64, 0),
        (66, 64, 64, 2),  # one target more than a block
        (129, 64, 64, 2),
        (130, 64, 64, 3),
    ],
)
def test_block_counts(tokens, block_size, stride, blocks):
    assert count_blocks(tokens, block_size, stride) == blocks


def test_a_block_is_its_inputs_and_the_token_after_each():
    blocks = Blocks(np.arange(100, 120, dtype=np.uint16), block_size=4, stride=3, ignore=-100)
    inputs, targets = blocks.batch(np.array([0, 2]))
    assert inputs.tolist() == [[100, 101, 102, 103], [106, 107, 108, 109]]
    assert targets.tolist() == [[101, 102, 103, 104], [107, 108, 109, 110]]


@pytest.mark.parametrize("stride", [1, 3, 4])
@pytest.mark.parametrize("n", [5, 6, 8, 9, 10, 31])
def test_every_target_is_covered_and_the_missing_ones_are_ignored(stride, n):
    blocks = Blocks(np.arange(n, dtype=np.uint16), block_size=4, stride=stride, ignore=-100)
    inputs, targets = blocks.batch(np.arange(len(blocks)))
    assert set(targets[targets != -100].tolist()) == set(range(1, n))
    assert (targets[targets != -100] == inputs[targets != -100] + 1).all()
    if stride == 4:  # no overlap: each target once
        assert (targets != -100).sum() == n - 1


@pytest.fixture
def store(tmp_path):
    np.arange(10, dtype=np.uint16).tofile(tmp_path / "train.bin")
    manifest = {
        "version": 1, "dtype": "uint16", "tokens": {"train": 10, "val": 0},
        "documents": {"train": 1, "val": 0}, "largest_id": 9, "tokenizer": {}, "fingerprint": "",
    }  # fmt: skip
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    return tmp_path


def test_tokens_are_mapped_not_loaded(store):
    tokens = TokenStore(store).tokens("train")
    assert isinstance(tokens, np.memmap)
    assert tokens.tolist() == list(range(10))
    assert TokenStore(store).tokens("val").tolist() == []


@pytest.mark.parametrize("size", [0, 19, 21, 40])
def test_a_file_of_another_size_is_refused(store, size):
    (store / "train.bin").write_bytes(bytes(size))
    message = f"train.bin has {size} bytes, its manifest says 20; delete the folder"
    with pytest.raises(UserError, match=message):
        TokenStore(store).tokens("train")


def test_a_missing_or_broken_or_newer_manifest_is_refused(store):
    file = store / "manifest.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "version": 2}))
    with pytest.raises(UserError, match="token store version 2, this minigpt reads 1"):
        TokenStore(store)
    for broken in ("{", "[]", "{}"):
        file.write_text(broken)
        with pytest.raises(UserError, match="manifest.json is missing or broken"):
            TokenStore(store)
    file.unlink()
    with pytest.raises(UserError, match="manifest.json is missing or broken"):
        TokenStore(store)
