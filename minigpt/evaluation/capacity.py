"""How much of a text the weights hold, in bits, against how much they could hold."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BITS_PER_PARAMETER = 3.6  # of GPT-style networks (Morris et al., 2025)


@dataclass(frozen=True)
class Capacity:
    """Bits of the training text that the network saves its reader, and its room for bits."""

    reference_nats: float  # a token of text that was not trained on
    text_bits: float  # of the whole training text at that rate
    known_bits: float  # of these, what the network needs less
    parameters: int
    capacity_bits: float

    @property
    def used(self) -> float:
        """Share of the capacity that is used."""
        return self.known_bits / self.capacity_bits

    @property
    def known(self) -> float:
        """Share of the text that is known."""
        return self.known_bits / self.text_bits


def capacity(
    train: NDArray[np.float64],
    held_out: NDArray[np.float64],
    reference: float,
    tokens: int,
    parameters: int,
) -> Capacity:
    """The bits known of a training text, from the nats a token of some of its pieces.

    What a piece is known for is its nats below the reference, never less than none. Held-out
    pieces are below it by chance, so what they have of it on average is taken off.
    """
    below = np.maximum(0, reference - train).mean() - np.maximum(0, reference - held_out).mean()
    bits = tokens / math.log(2)
    return Capacity(
        reference_nats=reference,
        text_bits=reference * bits,
        known_bits=max(0.0, float(below)) * bits,
        parameters=parameters,
        capacity_bits=BITS_PER_PARAMETER * parameters,
    )
