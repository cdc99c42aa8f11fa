"""Membership scores by hand, and capacity from literal figures."""

import numpy as np
import pytest

from minigpt.evaluation.capacity import capacity
from minigpt.evaluation.membership import MEASURES, membership
from minigpt.evaluation.passages import Documents
from minigpt.evaluation.pieces import Pieces, piece_length
from tests.texts import Texts


def pieces(nats, zlib_bytes=None, document=None):
    nats = np.array(nats, np.float32)
    N = len(nats)
    return Pieces(
        nats,
        np.array([10] * N if zlib_bytes is None else zlib_bytes),
        np.arange(N) if document is None else np.array(document),
    )


def test_the_scores_are_those_of_their_papers():
    some = pieces([[1, 2, 3, 4, 10], [2, 2, 2, 2, 2]], [20, 5])
    assert MEASURES["loss"](some).tolist() == [-4, -2]
    assert MEASURES["loss / zlib"](some).tolist() == [-0.2, -0.4]
    assert MEASURES["Min-20%"](some).tolist() == [-10, -2]  # one of five tokens
    assert MEASURES["zlib alone"](some).tolist() == [-20, -5]


def test_text_that_is_known_is_told_apart():
    rng = np.random.default_rng(1)
    train, held_out = rng.normal(0.2, 0.1, (300, 63)), rng.normal(9, 2, (48, 63))
    measured = membership(pieces(np.abs(train)), pieces(held_out))
    assert (measured.piece_tokens, measured.members, measured.others) == (64, 300, 48)
    assert measured.auc == measured.measures[0].auc == 1.0
    assert measured.measures[0].true_positives == 1.0
    assert measured.measures[-1].auc == 0.5  # zlib alone: all pieces are packed to ten bytes
    assert measured.train_losses[0] == pytest.approx(np.abs(train)[0].mean(), abs=1e-4)


def test_the_control_tells_every_other_held_out_document_from_the_rest():
    # Documents 0 and 2 against 1 and 3: three of the four pairs rank the first half higher.
    held_out = pieces([[1.0], [4.0], [2.0], [3.0]], document=[0, 1, 3, 2])
    by_loss = membership(pieces([[1.0]]), held_out).measures[0]
    assert by_loss.control == 0.75
    # The shares of pairs are 1 and 0.5 in each half: both add 0.125 / 2.
    assert by_loss.control_error == pytest.approx((2 * 0.125 / 2) ** 0.5)
    assert by_loss.error is None  # the training text is one document
    alone = membership(pieces([[1.0]]), pieces([[1.0], [2.0]], document=[0, 0])).measures[0]
    assert alone.control is alone.control_error is None


def test_the_control_of_text_of_one_kind_is_chance():
    held_out = np.random.default_rng(2).normal(9, 2, (4000, 15))
    for measure in membership(pieces([[1.0] * 15]), pieces(held_out)).measures:
        assert measure.control == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("train", "val", "expected"),
    [([5000], [3072], 64), ([5000], [1000], 16), ([5000], [64], 16), ([5000], [31], None),
     ([64], [5000], 16), ([5000], [10] * 500, None)],
)  # fmt: skip
def test_pieces_are_cut_shorter_until_there_are_enough(train, val, expected):
    texts = Texts(train=[[0] * n for n in train], val=[[0] * n for n in val])
    sides = [Documents(texts, [split], None) for split in ("train", "val")]
    assert piece_length(sides, 64) == expected


def test_bits_known_are_those_below_the_reference_beyond_chance():
    train, held_out = np.array([1.0, 5.0]), np.array([3.0, 5.0])
    found = capacity(train, held_out, reference=4.0, tokens=100, parameters=1000)
    # (3 + 0) / 2 nats a token of training text, (1 + 0) / 2 by chance
    assert found.known_bits == pytest.approx(100 * (1.5 - 0.5) / np.log(2))
    assert found.text_bits == pytest.approx(400 / np.log(2))
    assert found.capacity_bits == 3600
    assert found.known == pytest.approx(0.25)
    assert found.used == pytest.approx(found.known_bits / 3600)
    assert capacity(held_out, train, 4.0, 100, 1000).known_bits == 0
