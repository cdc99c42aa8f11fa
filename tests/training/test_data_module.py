"""Batches: how many, in which order, and the same ones however they are drawn."""

import dataclasses

import pytest
import torch

from minigpt.batches.config import DataConfig
from minigpt.batches.device_blocks import DeviceBlocks
from minigpt.batches.loader import BlockBatches, BlockLoader
from minigpt.config import build, compose_config
from minigpt.errors import UserError
from minigpt.training.data_module import TokenDataModule


def module(overrides, block_size=8, seed=1):
    cfg = compose_config([*overrides, f"model.block_size={block_size}"])
    return TokenDataModule(build(DataConfig, "data", cfg.data), block_size, seed)


def loader(data, rank=0, world_size=1, position=(0, 0), workers=0, batch_size=16):
    batches = BlockBatches(data.blocks["train"], batch_size, data.seed, rank, world_size)
    return BlockLoader(batches, workers, lambda: position)


def test_report_a_has_1264_batches_of_its_5056_windows(tmp_path):
    data = module([f"data.root={tmp_path}"], block_size=64)
    assert len(data.blocks["train"]) == 5056
    assert len(data.train_dataloader()) == 1264
    inputs, targets = next(iter(data.train_dataloader()))
    assert inputs.shape == (4, 64)
    assert torch.equal(inputs[:, 1:], targets[:, :-1])


@pytest.mark.parametrize("stride", [1, 3, 8])
def test_blocks_on_a_device_are_the_blocks(tiny, stride):
    data = module([*tiny, f"data.stride={stride}"])
    for blocks in data.blocks.values():
        numbers = torch.arange(len(blocks)).flip(0).numpy()  # the short last one, first
        there = DeviceBlocks(blocks, torch.device("cpu"))
        assert len(there) == len(blocks)
        for found, expected in zip(there.batch(numbers), blocks.batch(numbers), strict=True):
            assert found.dtype == torch.int64
            assert torch.equal(found, torch.from_numpy(expected))


def test_the_last_smaller_batch_is_kept(tiny):
    data = module(tiny)
    sizes = [len(inputs) for inputs, _ in data.train_dataloader()]
    n = len(data.blocks["train"])
    assert n % 16 != 0
    assert sizes == [16] * (n // 16) + [n % 16]
    assert len(sizes) == len(data.train_dataloader())


def test_an_epoch_shows_every_block_once_and_the_next_in_another_order(tiny):
    data = module(tiny)
    everything = {tuple(row) for row in data.blocks["train"].batch(
        torch.arange(len(data.blocks["train"])).numpy())[0].tolist()}  # fmt: skip
    epochs = [
        [tuple(row) for inputs, _ in loader(data, position=(e, 0)) for row in inputs.tolist()]
        for e in (0, 1)
    ]
    assert len(epochs[0]) == len(data.blocks["train"])
    assert set(epochs[0]) == set(epochs[1]) == everything
    assert epochs[0] != epochs[1]


def test_starting_at_a_batch_gives_what_would_have_come(tiny):
    data = module(tiny)
    whole = list(loader(data, position=(3, 0)))
    rest = list(loader(data, position=(3, 2)))
    assert len(rest) == len(whole) - 2
    for (a, b), (c, d) in zip(whole[2:], rest, strict=True):
        assert torch.equal(a, c)
        assert torch.equal(b, d)


def test_workers_and_ranks_share_one_order(tiny):
    data = module(tiny)
    alone = torch.cat([inputs for inputs, _ in loader(data)])
    workers = torch.cat([inputs for inputs, _ in loader(data, workers=2)])
    assert torch.equal(alone, workers)
    ranks = zip(*(loader(data, rank=r, world_size=2, batch_size=8) for r in (0, 1)), strict=True)
    together = [part for pair in ranks for part, targets in pair if (targets != -100).any()]
    assert torch.equal(torch.cat(together), alone)


def test_held_out_text_is_read_in_its_own_order_without_overlap(tmp_path):
    data = module([f"data.root={tmp_path}"], block_size=64)
    targets = torch.cat([targets.flatten() for _, targets in data.val_dataloader()])
    expected = data.store.tokens("val")[1:].astype("int64")
    assert targets[targets != -100].tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"val_fraction": 0.0}, "val has 0 tokens in 0 documents, one block needs 9"),
        ({"document_tokens": 1, "val_fraction": 0.97, "test_fraction": 0.0}, "train has . tokens"),
    ],
)
def test_a_split_short_of_one_block_is_refused(tiny, change, message):
    data = dataclasses.replace(build(DataConfig, "data", compose_config(tiny).data), **change)
    with pytest.raises(UserError, match=f"data.source=files: {message}"):
        TokenDataModule(data, 8, 1)


def test_a_token_id_outside_the_vocabulary_is_refused(tiny):
    data = module(tiny)
    data.check_vocabulary(data.vocab_size)
    with pytest.raises(UserError, match=r"model.vocab_size=5: .* token id \d+, .* set model"):
        data.check_vocabulary(5)


@pytest.mark.parametrize("key", ["batch_size", "eval_batch_size", "stride", "vocab_size"])
def test_sizes_below_one_are_refused_by_key(tiny, key):
    with pytest.raises(UserError, match=f"data.{key} must be above 0, got 0"):
        module([*tiny, f"data.{key}=0"])
