"""A soft cap of logits: cap * tanh(logits / cap), as in Gemma 2 (Riviere et al., 2024)."""

import torch
from torch import Tensor

CACHED_NUMBERS = 2**17  # logits worked on at a time on a CPU, so that they stay in its cache


def soft_capped(logits: Tensor, cap: float | None) -> Tensor:
    """Logits between -cap and cap, any shape; without a cap the logits themselves."""
    return logits if cap is None else (logits / cap).tanh() * cap


def soft_cap_(logits: Tensor, cap: float | None) -> Tensor:
    """The same in place, which autograd cannot follow."""
    return logits if cap is None else logits.div_(cap).tanh_().mul_(cap)


def soft_cap_with_slope_(scaled: Tensor, slope: Tensor, cap: float) -> None:
    """(R, V) logits / cap -> in place the capped logits, and in `slope` their derivative.

    The derivative of the capped logits by the logits is 1 - tanh^2.
    """
    rows = len(scaled) if scaled.is_cuda else max(1, CACHED_NUMBERS // scaled.shape[1])
    one = torch.ones((), device=scaled.device)
    for logits, derivative in zip(scaled.split(rows), slope.split(rows), strict=True):
        tanh = logits.float().tanh_()  # a CPU's tanh of bfloat16 takes several times as long
        torch.addcmul(one, tanh, tanh, value=-1, out=derivative)
        torch.mul(tanh, cap, out=logits)
