"""Which of several settings are the best: the lowest, and all that are not told apart from it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from minigpt.statistics.difference import LEVEL, Difference, Repeats, mean_difference
from minigpt.statistics.holm import holm


@dataclass(frozen=True)
class Standing:
    """A setting beside the one with the lowest mean."""

    index: int  # among those compared
    difference: Difference | None  # its mean less the lowest; None for the lowest itself
    corrected_p: float  # for all that were compared; NaN for the lowest, or without an error

    @property
    def is_worse(self) -> bool:
        """True if it is told apart from the lowest."""
        return not math.isnan(self.corrected_p) and self.corrected_p <= LEVEL


def standings(settings: Sequence[Repeats]) -> list[Standing]:
    """Every setting, the lowest mean first."""
    order = sorted(range(len(settings)), key=lambda i: settings[i].mean)
    best = settings[order[0]]
    differences = [mean_difference([(best, settings[i])]) for i in order[1:]]
    corrected = holm([difference.p for difference in differences])
    return [
        Standing(order[0], None, math.nan),
        *(Standing(*each) for each in zip(order[1:], differences, corrected, strict=True)),
    ]
