"""Blocks: how many there are, what is in them, and the same ones on a device."""

import numpy as np
import pytest
import torch

from minigpt.batches.blocks import Blocks, count_batches, count_blocks
from minigpt.batches.device_blocks import DeviceBlocks
from minigpt.errors import UserError
from tests.stores import write_store


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


@pytest.mark.parametrize(
    ("blocks", "batch_size", "batches"),
    [(5_056, 4, 1_264), (2_473_387, 32, 77_294), (2_473_387, 16, 154_587), (3, 4, 1), (0, 4, 0)],
)
def test_a_short_last_batch_counts_as_one(blocks, batch_size, batches):
    assert count_batches(blocks, batch_size) == batches


def blocks_of(folder, *shards, block_size=4, stride=4):
    return Blocks(write_store(folder, *shards).tokens("train"), block_size, stride, ignore=-100)


def test_a_block_is_its_inputs_and_the_token_after_each(tmp_path):
    blocks = blocks_of(tmp_path, list(range(20)), stride=3)
    inputs, targets = blocks.batch(np.array([0, 2]))
    assert inputs.tolist() == [[0, 1, 2, 3], [6, 7, 8, 9]]
    assert targets.tolist() == [[1, 2, 3, 4], [7, 8, 9, 10]]


@pytest.mark.parametrize("stride", [1, 3, 4])
@pytest.mark.parametrize("n", [5, 6, 8, 9, 10, 31])
@pytest.mark.parametrize("shard", [1, 3, 7, 100])
def test_every_target_is_covered_across_shards_and_the_missing_ones_are_ignored(
    tmp_path, stride, n, shard
):
    ids = list(range(n))
    shards = [ids[i : i + shard] for i in range(0, n, shard)]
    blocks = blocks_of(tmp_path, *shards, stride=stride)
    inputs, targets = blocks.batch(np.arange(len(blocks)))
    assert set(targets[targets != -100].tolist()) == set(range(1, n))
    assert (targets[targets != -100] == inputs[targets != -100] + 1).all()
    if stride == 4:  # no overlap: each target once
        assert (targets != -100).sum() == n - 1


@pytest.mark.parametrize("stride", [1, 3, 8])
def test_blocks_on_a_device_are_the_blocks(tmp_path, stride):
    blocks = blocks_of(tmp_path, list(range(61)), block_size=8, stride=stride)
    numbers = np.arange(len(blocks))[::-1].copy()  # the short last one, first
    on_device = DeviceBlocks(blocks, torch.device("cpu"))
    assert len(on_device) == len(blocks)
    for found, expected in zip(on_device.batch(numbers), blocks.batch(numbers), strict=True):
        assert found.dtype == torch.int64
        assert torch.equal(found, torch.from_numpy(expected))


def test_an_id_beyond_the_stores_largest_is_refused_when_a_block_is_cut(tmp_path):
    blocks = blocks_of(tmp_path, list(range(10)), [7, 8])
    path = tmp_path / "train-00000.bin"
    content = bytearray(path.read_bytes())
    content[3] ^= 0x80
    path.write_bytes(content)
    with pytest.raises(UserError, match="a shard has the id 32769, its manifest's largest is 9"):
        blocks.batch(np.array([0]))
    blocks.batch(np.array([1]))
