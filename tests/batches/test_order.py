"""The order of blocks is a permutation, any position of which can be computed alone."""

import numpy as np
import pytest

from minigpt.batches.order import block_order


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 64, 65, 1000, 5056])
def test_an_epoch_visits_every_block_once(n):
    assert sorted(block_order(np.arange(n), n, seed=3, epoch=1).tolist()) == list(range(n))


def test_a_part_of_an_epoch_is_the_same_as_in_the_whole():
    whole = block_order(np.arange(1000), 1000, seed=1, epoch=0)
    assert block_order(np.arange(400, 432), 1000, seed=1, epoch=0).tolist() == (
        whole[400:432].tolist()
    )


def test_seeds_and_epochs_give_other_orders():
    orders = [block_order(np.arange(50), 1000, seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order.tolist()) for order in orders}) == 4


def test_the_order_is_the_same_on_every_machine():
    assert block_order(np.arange(6), 5056, seed=1, epoch=2).tolist() == [
        1418, 3049, 1514, 4773, 92, 1373,
    ]  # fmt: skip


def test_neighbours_are_scattered():
    order = block_order(np.arange(4096), 4096, seed=0, epoch=0)
    steps = np.abs(np.diff(order))
    # Two random places out of n are n/3 apart on average.
    assert steps.mean() == pytest.approx(4096 / 3, rel=0.05)
    assert np.corrcoef(np.arange(4096), order)[0, 1] == pytest.approx(0, abs=0.05)


def test_a_billion_blocks_need_no_array_of_a_billion():
    found = block_order(np.array([0, 999_999_999]), 1_000_000_000, seed=0, epoch=0)
    assert found.nbytes == 16
    assert ((found >= 0) & (found < 1_000_000_000)).all()
