"""Learned, memorised, both or neither: the rules, from figures alone."""

from dataclasses import dataclass
from enum import StrEnum

from minigpt.statistics.proportions import ONE_SIDED_95, difference_interval, wilson_interval

EXTRACTED = 0.01  # of unrepeated training text, beyond held-out text: from here on it memorised
GAP = 1.0  # nats a token between training and held-out text
TOLD_APART = 0.9  # AUC; with the gap it shows memory of text that does not come back word for word
BETTER = 0.1  # share of the loss of token frequencies by which a network that learned is better


class Verdict(StrEnum):
    """What a network made of its training text."""

    LEARNED = "learned"
    MEMORISED = "memorised"
    BOTH = "both"
    NEITHER = "neither"
    UNKNOWN = "unknown"  # what was measured does not decide


# (learned, memorised) -> the verdict, and how a reader is told. None: not known. What is known to
# be true is claimed though the other is not known; "no" to one alone is not a verdict.
VERDICTS: dict[tuple[bool | None, bool | None], tuple[Verdict, str]] = {
    (True, False): (
        Verdict.LEARNED,
        "Learned, not memorised: it predicts text that it never saw.",
    ),
    (False, True): (
        Verdict.MEMORISED,
        "Memorised, not learned: it knows its own text and predicts no other.",
    ),
    (True, True): (
        Verdict.BOTH,
        "Learned and memorised: it predicts text that it never saw, and knows its own.",
    ),
    (False, False): (
        Verdict.NEITHER,
        "Neither learned nor memorised: it predicts no text well yet.",
    ),
    (True, None): (
        Verdict.LEARNED,
        "Learned: it predicts text that it never saw. Whether it memorised is not known.",
    ),
    (None, True): (
        Verdict.MEMORISED,
        "Memorised: it knows its own text. Whether it learned as well is not known.",
    ),
    (False, None): (
        Verdict.UNKNOWN,
        "Not learned: it predicts no text that it never saw. Whether it memorised is not known.",
    ),
    (None, False): (
        Verdict.UNKNOWN,
        "Not memorised. Whether it learned is not known.",
    ),
    (None, None): (
        Verdict.UNKNOWN,
        "Not known: there is too little text to say whether it learned or memorised.",
    ),
}


@dataclass(frozen=True)
class Extracted:
    """How many passages come back word for word."""

    passages: int
    come_back: int

    @property
    def share(self) -> float:
        return self.come_back / self.passages


@dataclass(frozen=True)
class Evidence:
    """The figures that decide; None: there was too little text to measure it."""

    train: Extracted | None  # of training passages that are not repeated
    held_out: Extracted | None  # of held-out passages of which the training text has nothing
    train_loss: float | None  # nats a token, in pieces of equal length
    held_out_loss: float | None
    unigram_loss: float | None  # of token frequencies, on held-out text
    membership_auc: float | None


@dataclass(frozen=True)
class Judgement:
    """What the evidence says, and why; None: it does not decide."""

    learned: bool | None
    memorised: bool | None
    reasons: list[str]  # one sentence a question

    @property
    def verdict(self) -> Verdict:
        return VERDICTS[self.learned, self.memorised][0]

    @property
    def sentence(self) -> str:
        return VERDICTS[self.learned, self.memorised][1]


def judge(evidence: Evidence) -> Judgement:
    """What the evidence says.

    Learned: the held-out loss is BETTER below that of token frequencies. Memorised: more than
    EXTRACTED of its unrepeated text comes back beyond what does of held-out text, with 95%
    certainty, or the losses are a GAP apart and tell the two TOLD_APART.
    """
    learned, why_learned = _learned(evidence)
    extracts, why_extracts = _extracts(evidence)
    separates, why_separates = _separates(evidence)
    memorised: bool | None
    if extracts or separates:
        memorised = True
    elif extracts is None or separates is None:
        memorised = None
    else:
        memorised = False
    return Judgement(learned, memorised, [why_extracts, why_separates, why_learned])


def _learned(evidence: Evidence) -> tuple[bool | None, str]:
    loss, unigram = evidence.held_out_loss, evidence.unigram_loss
    if loss is None or unigram is None:
        return None, "There is too little held-out text to say whether it learned."
    learned = loss < (1 - BETTER) * unigram
    word = "below" if loss < unigram else "above"
    so = "it learned from context" if learned else "it did not learn what carries over"
    return learned, (
        f"On held-out text it needs {loss:.2f} nats a token, {abs(1 - loss / unigram):.0%} {word} "
        f"the {unigram:.2f} of token frequencies alone ({BETTER:.0%} below is the bar): {so}."
    )


def _extracts(evidence: Evidence) -> tuple[bool | None, str]:
    train, control = evidence.train, evidence.held_out
    if train is None:
        return None, (
            "All of its passages are repeated in the training text, so none of them can show "
            "memory word for word."
        )
    if control is None:
        low, high = wilson_interval(train.come_back, train.passages, ONE_SIDED_95)
        beside = "there is no held-out passage to compare"
    else:
        low, high = difference_interval(
            train.come_back, train.passages, control.come_back, control.passages, ONE_SIDED_95
        )
        beside = f"of {control.passages:,} held-out passages {control.share:.1%} do"
    extracts: bool | None
    if low > EXTRACTED:
        extracts, so = True, "it memorised"
    elif high <= EXTRACTED:
        extracts, so = False, "too little to call it memory"
    else:
        extracts, so = None, "too few passages to tell"
    return extracts, (
        f"Of {train.passages:,} training passages that are not repeated, {train.share:.1%} come "
        f"back word for word; {beside}. With 95% certainty it is at least {_share(low)} beyond, "
        f"and with 95% certainty at most {_share(high)} ({EXTRACTED:.0%} is the bar): {so}."
    )


def _share(value: float) -> str:
    return f"{max(0.0, value):.1%}"


def _separates(evidence: Evidence) -> tuple[bool | None, str]:
    train, held_out, area = evidence.train_loss, evidence.held_out_loss, evidence.membership_auc
    if train is None or held_out is None or area is None:
        return None, "There is too little held-out text to compare the losses."
    gap = held_out - train
    separates = gap > GAP and area > TOLD_APART
    so = "it knows which text is its own" if separates else "not enough to call it memory"
    return separates, (
        f"Its own text costs {gap:.2f} nats a token less than held-out text and is told from it "
        f"with an AUC of {area:.3f} (above {GAP:g} nat and {TOLD_APART:g} is the bar): {so}."
    )
