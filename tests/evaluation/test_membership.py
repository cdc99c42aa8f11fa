"""Membership scores by hand, and capacity and verdict from literal figures."""

import numpy as np
import pytest

from minigpt.evaluation.capacity import capacity
from minigpt.evaluation.membership import MEASURES, membership
from minigpt.evaluation.memory_verdict import Evidence, Verdict, judge
from minigpt.evaluation.passages import Documents
from minigpt.evaluation.pieces import Pieces, piece_length
from tests.texts import Texts


def pieces(nats, zlib_bytes=None):
    nats = np.array(nats, np.float32)
    return Pieces(nats, np.array(zlib_bytes or [10] * len(nats)))


def test_the_scores_are_those_of_their_papers():
    some = pieces([[1, 2, 3, 4, 10], [2, 2, 2, 2, 2]], [20, 5])
    assert MEASURES["loss"](some).tolist() == [-4, -2]
    assert MEASURES["loss / zlib"](some).tolist() == [-0.2, -0.4]
    assert MEASURES["Min-20%"](some).tolist() == [-10, -2]  # one of five tokens
    assert MEASURES["zlib alone"](some).tolist() == [-20, -5]


def test_text_that_is_known_is_told_apart_and_halves_are_not():
    rng = np.random.default_rng(1)
    train, held_out = rng.normal(0.2, 0.1, (300, 63)), rng.normal(9, 2, (48, 63))
    found = membership(pieces(np.abs(train)), pieces(held_out), seed=0)
    assert (found.piece_tokens, found.members, found.others) == (64, 300, 48)
    assert found.auc == found.measures[0].auc == 1.0
    assert found.measures[0].true_positives == 1.0
    assert found.measures[-1].auc == 0.5  # zlib alone: all pieces are packed to ten bytes
    for measure in found.measures[:3]:
        assert measure.halves_auc == pytest.approx(0.5, abs=0.02)
        assert 0.07 < measure.halves_deviation < 0.1
    assert found.train_losses[0] == pytest.approx(np.abs(train)[0].mean(), abs=1e-4)


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


def evidence(**changes):
    learned = {
        "extracted": 0.004, "extracted_held_out": 0.0, "train_loss": 3.0, "held_out_loss": 3.2,
        "unigram_loss": 6.0, "membership_auc": 0.55,
    }  # fmt: skip
    return Evidence(**{**learned, **changes})


MEMORY = {"extracted": 0.97, "train_loss": 0.2, "held_out_loss": 13.0, "membership_auc": 1.0}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Verdict.LEARNED),
        (MEMORY, Verdict.MEMORISED),
        ({**MEMORY, "held_out_loss": 5.0}, Verdict.BOTH),
        ({"held_out_loss": 5.5, "train_loss": 5.4}, Verdict.NEITHER),
        ({"held_out_loss": 5.3}, Verdict.LEARNED),
        # Formulaic text comes back from held-out documents as well.
        ({"extracted": 0.05, "extracted_held_out": 0.045}, Verdict.LEARNED),
        ({"extracted": 0.05, "extracted_held_out": 0.0}, Verdict.BOTH),
        ({"extracted": 0.05, "extracted_held_out": None}, Verdict.BOTH),
        # Known, though not word for word: far apart and told apart.
        ({"train_loss": 1.0, "membership_auc": 0.95}, Verdict.BOTH),
        ({"train_loss": 1.0, "membership_auc": 0.8}, Verdict.LEARNED),
        ({"train_loss": 2.9, "membership_auc": 0.95}, Verdict.LEARNED),
        ({"extracted": None}, Verdict.LEARNED),
        ({"held_out_loss": None, "membership_auc": None}, Verdict.NEITHER),
        ({"held_out_loss": None, "extracted": 0.5}, Verdict.MEMORISED),
    ],
)
def test_the_verdict_follows_from_the_figures(changes, expected):
    verdict, reasons = judge(evidence(**changes))
    assert verdict is expected
    assert len(reasons) == 3
    assert all(reason.endswith(".") for reason in reasons)


def test_a_verdict_gives_its_figures():
    _, reasons = judge(evidence(**MEMORY))
    assert "97.0% come back word for word; of held-out passages 0.0% do" in reasons[0]
    assert "12.80 nats a token less than held-out text" in reasons[1]
    assert "13.00 nats a token, 117% above the 6.00 of token frequencies alone" in reasons[2]
