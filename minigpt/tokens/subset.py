"""A share of the training documents, chosen by the hash of their text."""

from dataclasses import dataclass
from typing import Any

from minigpt.config import build
from minigpt.errors import UserError, check_types
from minigpt.tokens.split import Digest

DEFAULTS = {"fraction": 0.5, "seed": 1, "complement": False}


@dataclass(frozen=True)
class Subset:
    """`data.subset`: which of the training documents are trained on."""

    fraction: float  # of the documents
    seed: int
    complement: bool  # take the documents that the same fraction and seed leave out

    def __post_init__(self) -> None:
        check_types("data.subset", self)
        if not 0 < self.fraction < 1:
            raise UserError(
                f"data.subset.fraction must lie between 0 and 1, got {self.fraction}; "
                "data.subset=null trains on all documents"
            )
        if not 0 <= self.seed < 2**63:
            raise UserError(
                f"data.subset.seed must be a whole number from 0 to 2^63 - 1, got {self.seed}"
            )

    def holds(self, text: Digest) -> bool:
        """True if a text is one of the subset."""
        return (text.draw(self.seed) < self.fraction) != self.complement


def subset_config(value: dict[str, Any] | None) -> Subset | None:
    """The checked `data.subset`: null, or the keys that differ from the defaults."""
    return None if value is None else build(Subset, "data.subset", {**DEFAULTS, **value})
