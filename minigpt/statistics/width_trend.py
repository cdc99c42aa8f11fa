"""How a figure of a network changes with its width."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

FLAT = 2.0  # largest over smallest value of a figure that is called flat


@dataclass(frozen=True)
class WidthTrend:
    """A figure at two widths or more."""

    values: Mapping[int, float]  # by width; positive or 0

    @property
    def ratio(self) -> float:
        """The largest value over the smallest; NaN where a value is not a number."""
        values = list(self.values.values())
        if not all(map(math.isfinite, values)):
            return math.nan
        if not min(values):
            return math.inf if max(values) else 1.0
        return max(values) / min(values)

    @property
    def is_flat(self) -> bool:
        """True if no two widths differ by more than a factor of FLAT."""
        return self.ratio <= FLAT

    @property
    def exponent(self) -> float:
        """The p of value = a width^p that fits best; NaN where a value is 0 or not a number."""
        if not all(value > 0 and math.isfinite(value) for value in self.values.values()):
            return math.nan
        x, y = map(math.log, self.values), map(math.log, self.values.values())
        return statistics.linear_regression([*x], [*y]).slope
