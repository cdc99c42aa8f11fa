"""Batches that grow are cut from one stream of blocks, without a gap and without a repetition."""

import numpy as np
import pytest
import torch

from minigpt.batches.order import block_order
from minigpt.batches.stream import StreamBatches, StreamLoader
from minigpt.batches.warmup import BatchSizes, BatchWarmup
from minigpt.errors import UserError
from tests.batches.test_loader import blocks  # noqa: F401

SIZES = BatchSizes(BatchWarmup(start=2, steps=4), 16)


def test_batches_grow_in_equal_steps():
    sizes = BatchSizes(BatchWarmup(start=2, steps=4), 10)
    assert [sizes.size(number) for number in range(6)] == [2, 4, 6, 8, 10, 10]
    assert [sizes.before(number) for number in range(7)] == [0, 2, 6, 12, 20, 30, 40]


def rows(batches):
    return [tuple(row) for _, targets in batches for row in targets.tolist()]


@pytest.mark.parametrize("seed", [1, None])
@pytest.mark.parametrize("world_size", [1, 3])
def test_each_pass_shows_every_block_once_and_passes_follow_without_a_gap(
    blocks, seed, world_size  # noqa: F811
):  # fmt: skip
    ranks = [StreamBatches(blocks, SIZES, seed, rank, world_size) for rank in range(world_size)]
    stream = [
        row
        for number in range(20)
        for row in rows([batches[number] for batches in ranks])
        if set(row) != {-100}  # of a rank without rows
    ]
    order = [
        np.arange(103) if seed is None else block_order(np.arange(103), 103, seed, epoch)
        for epoch in range(-(-len(stream) // 103))
    ]
    expected = blocks.batch(np.concatenate(order)[: len(stream)])[1]
    assert stream == list(map(tuple, expected.tolist()))
    assert len(stream) == 2 + 5 + 9 + 12 + 16 * 16


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_goes_on_from_any_batch_of_the_run(blocks, workers):  # noqa: F811
    batches = StreamBatches(blocks, SIZES, 1, 0, 1)
    assert len(batches) == 7  # as without warm-up: 103 blocks in batches of 16
    loader = StreamLoader(batches, workers, lambda: (9, 2))  # two of the second epoch are done
    drawn = list(loader)
    assert len(drawn) == 5
    for number, (inputs, targets) in enumerate(drawn, start=9):
        assert torch.equal(inputs, batches[number][0])
        assert torch.equal(targets, batches[number][1])


@pytest.mark.parametrize(
    ("warmup", "message"),
    [
        ({"start": 16, "steps": 3}, "start=16 is not below data.batch_size=16, to which batches"),
        ({"start": 0, "steps": 3}, ".start must be above 0, got 0"),
        ({"start": 2, "steps": 0}, ".steps must be above 0, got 0"),
        ({"start": 2.5, "steps": 3}, ".start must be int, got 2.5"),
        ({"start": 2}, ".steps is missing"),
        ([8, 500], " must be .*, got \\[8, 500\\]"),
        ({"start": 2, "stepps": 1}, ".stepps; did you mean 'data.batch_warmup.steps'"),
    ],
)
def test_a_wrong_warm_up_is_refused_by_key(data, warmup, message):
    with pytest.raises(UserError, match=f"data.batch_warmup.?{message}"):
        data(files=["a.txt"], batch_size=16, batch_warmup=warmup)
