"""What is known of a network's memory: the figures of every measure, and the verdict."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from minigpt.evaluation.canaries import CanaryExposures
from minigpt.evaluation.capacity import Capacity
from minigpt.evaluation.extraction import CONTINUATION, Extraction
from minigpt.evaluation.longest_spans import RecalledSpan
from minigpt.evaluation.membership import Membership
from minigpt.evaluation.memory_verdict import Judgement, Verdict


@dataclass(frozen=True)
class Losses:
    """Nats a token on pieces of equal length, and what token frequencies alone need."""

    train: float
    held_out: float
    unigram: float  # on held-out text


@dataclass(frozen=True)
class Memorization:
    """What a network knows of its training text, and the figures that show it."""

    judgement: Judgement
    checkpoint: str
    prefixes_left_out: list[int]  # too long for the context or the documents
    train: Extraction
    held_out: Extraction | None  # None: no held-out document is long enough
    train_spans: list[RecalledSpan]
    held_out_spans: list[RecalledSpan]
    losses: Losses | None  # None: too little held-out text, as below
    membership: Membership | None
    capacity: Capacity | None
    canaries: CanaryExposures | None  # None: none were planted
    windows: int
    seed: int

    @property
    def verdict(self) -> Verdict:
        return self.judgement.verdict

    def to_dict(self) -> dict[str, Any]:
        """Plain values, the figures that scripts ask for first."""
        figures = dataclasses.asdict(self)
        return {
            "verdict": self.verdict.value,
            "prefix": self.train.recalls[-1].prefix,
            "continuation": CONTINUATION,
            "extracted_train": self.train.extracted,
            "extracted_train_not_repeated": self.train.extracted_once,
            "extracted_held_out": self.held_out.extracted if self.held_out else None,
            "membership_auc": self.membership.auc if self.membership else None,
            **figures.pop("judgement"),
            **figures,
        }
