"""A share of the training documents, chosen by the hash of their text."""

from dataclasses import dataclass

from minigpt.errors import UserError, check_types
from minigpt.tokens.split import Digest

ALL = {"fraction": 1.0, "seed": 1, "complement": False}  # the default of `data.subset`


@dataclass(frozen=True)
class Subset:
    """`data.subset`: which of the training documents are trained on."""

    fraction: float  # of the documents; 1: all
    seed: int
    complement: bool  # take the documents that the same fraction and seed leave out

    def __post_init__(self) -> None:
        check_types("data.subset", self)
        if not 0 < self.fraction <= 1:
            raise UserError(f"data.subset.fraction must lie in (0, 1], got {self.fraction}")
        if self.fraction == 1 and self.complement:
            raise UserError(
                "data.subset.complement=true takes what a fraction leaves out, and "
                "data.subset.fraction=1 leaves out none; lower it"
            )
        if not 0 <= self.seed < 2**63:
            raise UserError(
                f"data.subset.seed must be a whole number from 0 to 2^63 - 1, got {self.seed}"
            )

    @property
    def is_all(self) -> bool:
        """True if no document is left out."""
        return self.fraction == 1

    def holds(self, text: Digest) -> bool:
        """True if a text is one of the subset."""
        return self.is_all or (text.draw(self.seed) < self.fraction) != self.complement
