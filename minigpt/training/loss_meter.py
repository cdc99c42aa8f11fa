"""Mean loss over tokens and bytes, summed on the device and read only when it is asked for.

torchmetrics.MeanMetric does the same in float32, or with checks that cost ten times the update.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from minigpt.model.loss import IGNORE


class LossMeter:
    """Sums nats, tokens and bytes in float64 (float32 on Apple's GPUs, which have no float64)."""

    def __init__(self) -> None:
        self.totals: Tensor | None = None  # (2): nats, tokens; (3): bytes too

    def reset(self) -> None:
        self.totals = None

    def add(self, totals: Tensor) -> None:
        """totals: (2) or (3), of one batch."""
        if self.totals is None:
            self.totals = totals
        else:
            # A checkpoint's totals are loaded before the device is known.
            self.totals = totals + self.totals.to(totals)

    def load(self, totals: Sequence[float] | None) -> None:
        """Takes over a checkpoint's totals."""
        self.totals = None if totals is None else torch.tensor(totals, dtype=torch.float64)


def nats_and_tokens(loss: Tensor, targets: Tensor) -> Tensor:
    """(2): the nats and the tokens of a batch with a mean loss; nothing is read from the device."""
    dtype = torch.float32 if loss.device.type == "mps" else torch.float64
    tokens = (targets != IGNORE).sum().to(dtype)
    return torch.stack((loss.detach().to(dtype) * tokens, tokens))


def with_bytes(totals: Tensor, targets: Tensor, bytes_per_id: Tensor) -> Tensor:
    """(2) nats and tokens, (B, T) targets, (V) bytes -> (3): nats, tokens, bytes of UTF-8."""
    text = targets != IGNORE
    sizes = bytes_per_id[targets.where(text, 0)].where(text, 0)
    return torch.cat((totals, sizes.sum().to(totals.dtype)[None]))


def mean(totals: Tensor | None) -> float:
    """Nats a token of totals; NaN without a token."""
    if totals is None:
        return math.nan
    nats, tokens = totals[:2].tolist()
    return nats / tokens if tokens else math.nan


def bits_per_byte(totals: Tensor | None) -> float:
    """Bits a byte of (3) totals; NaN without a byte."""
    if totals is None:
        return math.nan
    nats, _, size = totals.tolist()
    return nats / math.log(2) / size if size else math.nan
