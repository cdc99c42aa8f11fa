"""Learned, memorised, both or neither: the rules, from figures alone."""

from dataclasses import dataclass
from enum import StrEnum

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


SENTENCES = {
    Verdict.LEARNED: "Learned, not memorised: it predicts text that it never saw.",
    Verdict.MEMORISED: "Memorised, not learned: it knows its own text and predicts no other.",
    Verdict.BOTH: "Learned and memorised: it predicts text that it never saw, and knows its own.",
    Verdict.NEITHER: "Neither learned nor memorised: it predicts no text well yet.",
}


@dataclass(frozen=True)
class Evidence:
    """The figures that decide; None: there was too little text to measure it."""

    extracted: float | None  # share of training passages that are not repeated
    extracted_held_out: float | None  # share of held-out passages that the training text lacks
    train_loss: float | None  # nats a token, in pieces of equal length
    held_out_loss: float | None
    unigram_loss: float | None  # of token frequencies, on held-out text
    membership_auc: float | None


def judge(evidence: Evidence) -> tuple[Verdict, list[str]]:
    """The verdict and its reasons, one sentence a question.

    Learned: the held-out loss is BETTER below that of token frequencies. Memorised: EXTRACTED of
    its unrepeated text comes back beyond what does of held-out text, or the losses are a GAP apart
    and tell the two TOLD_APART.
    """
    learned, why_learned = _learned(evidence)
    extracts, why_extracts = _extracts(evidence)
    separates, why_separates = _separates(evidence)
    memorised = extracts or separates
    if learned:
        verdict = Verdict.BOTH if memorised else Verdict.LEARNED
    else:
        verdict = Verdict.MEMORISED if memorised else Verdict.NEITHER
    return verdict, [why_extracts, why_separates, why_learned]


def _learned(evidence: Evidence) -> tuple[bool, str]:
    loss, unigram = evidence.held_out_loss, evidence.unigram_loss
    if loss is None or unigram is None:
        return False, "There is too little held-out text to say whether it learned."
    learned = loss < (1 - BETTER) * unigram
    word = "below" if loss < unigram else "above"
    so = "it learned from context" if learned else "it did not learn what carries over"
    return learned, (
        f"On held-out text it needs {loss:.2f} nats a token, {abs(1 - loss / unigram):.0%} {word} "
        f"the {unigram:.2f} of token frequencies alone ({BETTER:.0%} below is the bar): {so}."
    )


def _extracts(evidence: Evidence) -> tuple[bool, str]:
    own, control = evidence.extracted, evidence.extracted_held_out
    if own is None:
        return False, "All of its passages are repeated in the training text."
    extracts = own - (control or 0.0) > EXTRACTED
    of_control = (
        "there is no held-out passage to compare"
        if control is None
        else f"of held-out passages {control:.1%} do"
    )
    so = "it memorised" if extracts else "too little to call it memory"
    return extracts, (
        f"Of training passages that are not repeated, {own:.1%} come back word for word; "
        f"{of_control} (more than {EXTRACTED:.0%} beyond is the bar): {so}."
    )


def _separates(evidence: Evidence) -> tuple[bool, str]:
    train, held_out, area = evidence.train_loss, evidence.held_out_loss, evidence.membership_auc
    if train is None or held_out is None or area is None:
        return False, "There is too little held-out text to compare the losses."
    gap = held_out - train
    separates = gap > GAP and area > TOLD_APART
    so = "it knows which text is its own" if separates else "not enough to call it memory"
    return separates, (
        f"Its own text costs {gap:.2f} nats a token less than held-out text and is told from it "
        f"with an AUC of {area:.3f} (above {GAP:g} nat and {TOLD_APART:g} is the bar): {so}."
    )
