"""Batches: the same ones in the same order however they are drawn."""

import multiprocessing
import pickle

import numpy as np
import pytest
import torch

from minigpt.batches.blocks import Blocks
from minigpt.batches.loader import BlockBatches, BlockLoader
from tests.stores import write_store

BLOCK_SIZE, BATCH_SIZE = 8, 16


@pytest.fixture
def blocks(tmp_path):
    """103 blocks, no two alike, the last one short."""
    ids = np.random.default_rng(1).integers(0, 100, 103 * BLOCK_SIZE - 3).tolist()
    return Blocks(write_store(tmp_path, ids).tokens("train"), BLOCK_SIZE, BLOCK_SIZE, -100)


def loader(blocks, seed=1, rank=0, world_size=1, position=(0, 0), workers=0, batch_size=BATCH_SIZE):
    batches = BlockBatches(blocks, batch_size, seed, rank, world_size)
    return BlockLoader(batches, workers, lambda: position)


def rows(loader):
    return [tuple(row) for _, targets in loader for row in targets.tolist()]


def test_the_last_smaller_batch_is_kept(blocks):
    assert [len(inputs) for inputs, _ in loader(blocks)] == [16] * 6 + [7]
    assert len(loader(blocks)) == 7


def test_an_epoch_shows_every_block_once_and_the_next_in_another_order(blocks):
    everything = sorted(map(tuple, blocks.batch(np.arange(103))[1].tolist()))
    assert len(set(everything)) == 103
    first, second = (rows(loader(blocks, position=(epoch, 0))) for epoch in (0, 1))
    assert sorted(first) == sorted(second) == everything
    assert first != second


def test_without_a_seed_blocks_come_in_the_order_of_the_text(blocks):
    assert rows(loader(blocks, seed=None)) == [
        tuple(row) for row in blocks.batch(np.arange(103))[1].tolist()
    ]


def test_a_loader_that_starts_at_a_later_batch_draws_the_same_batches(blocks):
    whole = list(loader(blocks, position=(3, 0)))
    rest = list(loader(blocks, position=(3, 2)))
    assert len(rest) == len(whole) - 2
    for (a, b), (c, d) in zip(whole[2:], rest, strict=True):
        assert torch.equal(a, c)
        assert torch.equal(b, d)


def test_workers_and_ranks_share_one_order(blocks):
    alone = rows(loader(blocks))
    assert rows(loader(blocks, workers=2)) == alone
    ranks = [loader(blocks, rank=rank, world_size=3) for rank in (0, 1, 2)]
    assert [len(rank) for rank in ranks] == [7, 7, 7]
    # A batch of 16 rows, and the last of 7.
    assert [[len(inputs) for inputs, _ in rank][-2:] for rank in ranks] == [[5, 2], [5, 2], [6, 3]]
    together = [
        tuple(row)
        for pair in zip(*ranks, strict=True)
        for _, targets in pair
        for row in targets.tolist()
        if set(row) != {-100}
    ]
    assert together == alone


def _batch_in_another_process(content, queue):
    queue.put(pickle.loads(content)[3][0].tolist())


def test_nothing_but_the_path_of_the_store_travels_to_a_spawned_worker(blocks):
    batches = BlockBatches(blocks, BATCH_SIZE, 1, 0, 1)
    expected = batches[3][0].tolist()  # opens the shard
    content = pickle.dumps(batches)
    # The order of a few batches ahead travels, too: 64 of them, 16 numbers of 8 bytes each.
    assert len(content) < 64 * 16 * 8 + 3_000
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    worker = context.Process(target=_batch_in_another_process, args=(content, queue))
    worker.start()
    assert queue.get(timeout=120) == expected
    worker.join()
    assert worker.exitcode == 0
