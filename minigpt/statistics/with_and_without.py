"""A figure of many items under several treatments: its mean with one and without it.

Shapes: M measurements (one a model), D items (documents).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray


@dataclass(frozen=True)
class Contrast:
    """One entry for each item; NaN where a side has no measurement."""

    with_it: Float[ndarray, "D"]  # mean of the measurements with the treatment
    without_it: Float[ndarray, "D"]
    difference: Float[ndarray, "D"]  # with less without
    stderr: Float[ndarray, "D"]  # of the difference; NaN unless both sides have two measurements
    with_count: Int[ndarray, "D"]
    without_count: Int[ndarray, "D"]


def contrast(figures: Float[ndarray, "M D"], treated: Bool[ndarray, "M D"]) -> Contrast:
    """What the treatment changes, with Welch's standard error: the sides may vary unequally."""
    with np.errstate(divide="ignore", invalid="ignore"):
        with_mean, with_variance, with_count = _mean_and_its_variance(figures, treated)
        without_mean, without_variance, without_count = _mean_and_its_variance(figures, ~treated)
        return Contrast(
            with_mean,
            without_mean,
            with_mean - without_mean,
            np.sqrt(with_variance + without_variance),
            with_count,
            without_count,
        )


def _mean_and_its_variance(
    figures: Float[ndarray, "M D"], chosen: Bool[ndarray, "M D"]
) -> tuple[Float[ndarray, "D"], Float[ndarray, "D"], Int[ndarray, "D"]]:
    """Mean, the variance of that mean, and the number of the chosen figures of each column."""
    count = chosen.sum(0)
    mean = np.where(chosen, figures, 0).sum(0) / count
    squares = np.where(chosen, (figures - mean) ** 2, 0).sum(0)
    return mean, squares / np.where(count > 1, count - 1, np.nan) / count, count
