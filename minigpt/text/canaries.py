"""Canaries: random strings to plant in a training text, so that its memory can be measured.

Nobody can learn a random string, so a network that knows one has memorised it (Carlini et al.,
2019, "The Secret Sharer", arXiv:1802.08232).
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from minigpt.config import build
from minigpt.errors import UserError, check_types

FORM = "The random number is {}.\n"
GROUPS = 4  # of three random digits
SPACE = 1000**GROUPS  # strings of this form, all equally likely
DOMAIN = "canaries"
NAME = re.compile(r"canary \d+x #\d+")
DEFAULTS = {"repeats": [1, 4, 16, 64], "each": 4, "seed": 1}
MOST_COPIES = 1_000_000


@dataclass(frozen=True)
class CanariesConfig:
    """`data.canaries`: how many random strings are planted, and how often each."""

    repeats: list[int]  # how often a canary is in the training text
    each: int  # canaries of each number of repeats
    seed: int

    def __post_init__(self) -> None:
        check_types("data.canaries", self)
        if not self.repeats or min(self.repeats) < 1 or len({*self.repeats}) < len(self.repeats):
            raise UserError(
                "data.canaries.repeats must be different whole numbers above 0, such as "
                f"[1, 4, 16, 64], got {self.repeats}"
            )
        if self.each < 1:
            raise UserError(
                f"data.canaries.each must be at least 1, got {self.each}; data.canaries=null "
                "plants none"
            )
        if self.seed < 0:
            raise UserError(f"data.canaries.seed must be at least 0, got {self.seed}")
        if self.copies > MOST_COPIES:
            raise UserError(
                f"data.canaries: {self.copies:,} copies in all are more than {MOST_COPIES:,}; "
                "lower data.canaries.each or the largest of data.canaries.repeats"
            )

    @property
    def copies(self) -> int:
        """Documents that all canaries make together."""
        return self.each * sum(self.repeats)


@dataclass(frozen=True, slots=True)
class Canary:
    """A random string, and how often it is planted."""

    name: str
    text: str
    repeats: int


def canaries_config(value: int | dict[str, Any] | None) -> CanariesConfig | None:
    """The checked `data.canaries`: null, a number of canaries, or the keys that differ."""
    if value is None:
        return None
    keys = {"each": value} if isinstance(value, int) else value
    return build(CanariesConfig, "data.canaries", {**DEFAULTS, **keys})


def make_canaries(config: CanariesConfig | None) -> list[Canary]:
    """The canaries of a configuration, in the order of their repeats."""
    if config is None:
        return []
    texts = random_texts(f"canaries {config.seed}")
    return [
        Canary(f"canary {repeats}x #{number}", text, repeats)
        for repeats in sorted(config.repeats)
        for number, text in enumerate(islice(texts, config.each), 1)
    ]


def random_texts(seed: str) -> Iterator[str]:
    """Random strings of the canaries' form without end, all of them different."""
    rng = random.Random(seed)
    made: set[str] = set()
    while True:
        # Of all methods only random() gives the same numbers in every version of Python.
        text = FORM.format(" ".join(f"{int(1000 * rng.random()):03}" for _ in range(GROUPS)))
        if text not in made:
            made.add(text)
            yield text
