"""The verdict follows from literal figures, and claims nothing that was not measured."""

import pytest

from minigpt.evaluation.memory_verdict import VERDICTS, Evidence, Extracted, Verdict, judge


def evidence(**changes):
    learned = {
        "train": Extracted(1000, 2), "held_out": Extracted(1000, 0), "train_loss": 3.0,
        "held_out_loss": 3.2, "unigram_loss": 6.0, "membership_auc": 0.55,
    }  # fmt: skip
    return Evidence(**{**learned, **changes})


MEMORY = {
    "train": Extracted(1000, 970), "train_loss": 0.2, "held_out_loss": 13.0, "membership_auc": 1.0,
}  # fmt: skip
NOTHING_HELD_OUT = {
    "held_out": None, "held_out_loss": None, "unigram_loss": None, "membership_auc": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "learned", "memorised", "verdict"),
    [
        ({}, True, False, Verdict.LEARNED),
        (MEMORY, False, True, Verdict.MEMORISED),
        ({**MEMORY, "held_out_loss": 5.0}, True, True, Verdict.BOTH),
        ({"held_out_loss": 5.5, "train_loss": 5.4}, False, False, Verdict.NEITHER),
        ({"held_out_loss": 5.3}, True, False, Verdict.LEARNED),
        # Formulaic text comes back from held-out documents as well.
        (
            {"train": Extracted(10_000, 500), "held_out": Extracted(10_000, 480)},
            True, False, Verdict.LEARNED,
        ),
        ({"train": Extracted(1000, 50)}, True, True, Verdict.BOTH),
        ({"train": Extracted(1000, 50), "held_out": None}, True, True, Verdict.BOTH),
        # Known, though not word for word: far apart and told apart.
        ({"train_loss": 1.0, "membership_auc": 0.95}, True, True, Verdict.BOTH),
        ({"train_loss": 1.0, "membership_auc": 0.8}, True, False, Verdict.LEARNED),
        ({"train_loss": 2.9, "membership_auc": 0.95}, True, False, Verdict.LEARNED),
        ({"train": Extracted(335, 0)}, True, False, Verdict.LEARNED),
        # Too few passages for 1% to show: 0 of 100 may be as much as 2.6%.
        ({"train": Extracted(100, 0)}, True, None, Verdict.LEARNED),
        ({"train": Extracted(100, 2)}, True, None, Verdict.LEARNED),
        ({"train": None}, True, None, Verdict.LEARNED),
        (NOTHING_HELD_OUT, None, None, Verdict.UNKNOWN),
        ({**NOTHING_HELD_OUT, "train": Extracted(1000, 500)}, None, True, Verdict.MEMORISED),
        ({"train": None, "held_out_loss": 5.5}, False, None, Verdict.UNKNOWN),
        ({"unigram_loss": None}, None, False, Verdict.UNKNOWN),
    ],
)  # fmt: skip
def test_the_verdict_follows_from_the_figures(changes, learned, memorised, verdict):
    judgement = judge(evidence(**changes))
    assert (judgement.learned, judgement.memorised) == (learned, memorised)
    assert judgement.verdict is verdict
    assert len(judgement.reasons) == 3
    assert all(reason.endswith(".") for reason in judgement.reasons)


def test_what_is_not_known_is_said_and_not_denied():
    for (learned, memorised), (_, sentence) in VERDICTS.items():
        is_said = "not known" in sentence.lower()
        assert is_said == (learned is None or memorised is None)


def test_a_verdict_gives_its_figures():
    extracts, separates, learns = judge(evidence(**MEMORY)).reasons
    assert "Of 1,000 training passages that are not repeated, 97.0% come back" in extracts
    assert "of 1,000 held-out passages 0.0% do" in extracts
    assert "12.80 nats a token less than held-out text" in separates
    assert "13.00 nats a token, 117% above the 6.00 of token frequencies alone" in learns
