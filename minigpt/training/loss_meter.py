"""Mean loss over tokens, summed on the device and read only when it is asked for.

torchmetrics.MeanMetric does the same in float32, or with checks that cost ten times the update.
"""

import math

import torch
from torch import Tensor

from minigpt.model.loss import IGNORE


class LossMeter:
    """Sums nats and tokens in float64 (float32 on Apple's GPUs, which have no float64)."""

    def __init__(self) -> None:
        self.totals: Tensor | None = None  # (2): nats, tokens

    def reset(self) -> None:
        self.totals = None

    def add(self, nats_and_tokens: Tensor) -> None:
        """nats_and_tokens: (2), of one batch."""
        if self.totals is None:
            self.totals = nats_and_tokens
        else:
            # A checkpoint's totals are loaded before the device is known.
            self.totals = nats_and_tokens + self.totals.to(nats_and_tokens)

    def load(self, totals: list[float] | None) -> None:
        """Takes over a checkpoint's totals."""
        self.totals = None if totals is None else torch.tensor(totals, dtype=torch.float64)


def nats_and_tokens(loss: Tensor, targets: Tensor) -> Tensor:
    """(2): the nats and the tokens of a batch with a mean loss; nothing is read from the device."""
    dtype = torch.float32 if loss.device.type == "mps" else torch.float64
    tokens = (targets != IGNORE).sum().to(dtype)
    return torch.stack((loss.detach().to(dtype) * tokens, tokens))


def mean(totals: Tensor | None) -> float:
    """Nats a token of (2) totals; NaN without a token."""
    if totals is None:
        return math.nan
    nats, tokens = totals.tolist()
    return nats / tokens if tokens else math.nan
