"""Exposure: how much better a network knows a planted string than others like it.

Carlini et al., 2019, "The Secret Sharer" (arXiv:1802.08232): log2 of all strings of a form less
log2 of the planted one's rank among them, the string that the network finds likeliest being first.
Nobody can score all strings, so the rank is estimated from a random sample of them. All are in
bits, and every `nats` is the surprise of a whole string: lower is likelier.
"""

import math
import statistics
from collections.abc import Sequence

CHANCE = 1 / math.log(2)  # mean exposure of a string that was not planted, in bits


def rank(nats: float, references: Sequence[float]) -> int:
    """A string's place among itself and the references; 1: it is likelier than each of them."""
    return 1 + sum(reference <= nats for reference in references)


def sampled_exposure(nats: float, references: Sequence[float]) -> float:
    """Exposure by the rank among the references: from 0 to log2(references + 1) bits."""
    return math.log2((len(references) + 1) / rank(nats, references))


def extrapolated_exposure(nats: float, references: Sequence[float], space: int) -> float:
    """Exposure by a normal distribution fitted to the references: at most log2(space) bits.

    It goes on where no reference is as likely as the string, and is as good as the fit of the
    tail there. NaN where the references do not differ.
    """
    deviation = statistics.stdev(references)
    if not deviation:
        return math.nan
    z = (nats - statistics.fmean(references)) / deviation
    below = math.erfc(-z / math.sqrt(2)) / 2  # share of the strings that are likelier
    return -math.log2(max(below, 1 / space))
