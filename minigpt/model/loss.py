"""Next-token cross-entropy: the dense reference, and two paths that never hold all logits.

Shapes: N tokens (B * T), C channels, V vocabulary. Logits, not weights, are the memory of a small
model: 32 x 128 tokens x 50,257 words are 823 MB in float32, and their gradient as much again.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from minigpt.errors import UserError

IGNORE = -100  # a target that takes no part in the loss

METHODS = ("auto", "bfloat16", "chunked", "dense")

# Rows of logits held at a time in bfloat16, and half of them in float32. Measured: with fewer the
# products starve and the gradient of the weight is added up too often; with more nothing is won.
CHUNK_ROWS = 1024

# Words that the bfloat16 path rounds a vocabulary up to, with probability 0: with 50,257 each row
# of logits starts elsewhere in a cache line, and a product took up to a third longer.
ALIGNMENT = 64


def resolve_method(method: str, device: torch.device) -> str:
    """The path that `loss=auto` stands for on a device; other names stand for themselves."""
    if method == "bfloat16" and device.type not in ("cpu", "cuda"):
        raise UserError(f"loss=bfloat16 is not for {device.type}; use loss=auto")
    if method != "auto":
        return method
    return "bfloat16" if device.type == "cpu" and has_bfloat16_instructions() else "chunked"


def has_bfloat16_instructions() -> bool:
    """Whether this processor multiplies bfloat16 faster than float32."""
    return torch.cpu._is_avx512_bf16_supported()


def next_token_loss(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    method: str = "dense",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Mean cross-entropy of the head's prediction, in nats per target that is not IGNORE.

    hidden (..., C), weight (V, C), bias (V) or None, targets (...) -> scalar. Every method
    computes the same function; see `resolve_method` for the choice among them. Smoothing gives
    that share of each target to all words alike (Szegedy et al., 2016).
    """
    hidden, targets = hidden.flatten(0, -2), targets.flatten()
    count = (targets != IGNORE).sum().clamp_min(1)  # nothing to predict costs nothing
    if method == "bfloat16":
        loss = _Bfloat16Head.apply(hidden, weight, bias, targets, count, torch.is_grad_enabled())
    else:
        # The chunked op stands outside autocast, so the products' precision is set by hand; on a
        # CPU the method's name says it.
        dtype = hidden.dtype
        if hidden.is_cuda and torch.is_autocast_enabled("cuda"):
            dtype = torch.get_autocast_dtype("cuda")
        b = None if bias is None else bias.to(dtype)
        with torch.autocast(hidden.device.type, enabled=False):
            loss = _summed_loss(hidden.to(dtype), weight.to(dtype), b, targets, method) / count
    if label_smoothing:
        loss = loss + label_smoothing * _above_mean(hidden, weight, bias, targets) / count
    return loss


def _summed_loss(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, method: str
) -> Tensor:
    if method == "chunked" and hasattr(F, "linear_cross_entropy"):  # torch >= 2.13
        return F.linear_cross_entropy(
            hidden,
            weight,
            targets,
            linear_bias=bias,
            reduction="sum",
            ignore_index=IGNORE,
            options=torch.nn.LinearCrossEntropyOptions(batch_chunk_size=CHUNK_ROWS // 2),
        )
    logits = F.linear(hidden, weight, bias)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return F.cross_entropy(logits, targets, reduction="sum", ignore_index=IGNORE)


def _above_mean(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    """How far the targets' logits lie above the mean logit, summed over the targets; scalar.

    It is what smoothing adds, whatever the log-sum-exp, and linear, so no logits are needed: the
    mean of -log p over all words is that of the target plus this.
    """
    counted = targets != IGNORE
    wanted = targets.where(counted, 0)
    above = (hidden * (weight[wanted] - weight.mean(0))).sum(-1)
    if bias is not None:
        above = above + bias[wanted] - bias.mean()
    return above.where(counted, 0).sum()  # not by indexing, for which a GPU would be waited for


def _padded(parameter: Tensor) -> Tensor:
    """(V, ...) -> bfloat16 with zeros after it, up to a multiple of ALIGNMENT."""
    V = len(parameter)
    found = parameter.new_empty(-(-V // ALIGNMENT) * ALIGNMENT, *parameter.shape[1:],
                                dtype=torch.bfloat16)  # fmt: skip
    found[:V] = parameter
    found[V:] = 0
    return found


class _Bfloat16Head(torch.autograd.Function):
    """Head and loss where there are bfloat16 instructions, a chunk of rows at a time.

    The products take bfloat16 and sum in float32, and each chunk's logits turn in place into
    probabilities and then into their own gradient, in one buffer for all chunks. So the forward
    pass already makes the gradients of everything, and the backward pass only scales.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        count: Tensor,
        with_grad: bool,
    ) -> Tensor:
        N, V = hidden.shape[0], weight.shape[0]
        h, w = hidden.bfloat16(), _padded(weight)
        b = None if bias is None else _padded(bias)
        counted = targets != IGNORE
        wanted = targets.where(counted, 0)
        if not wanted.is_cuda and not ((wanted >= 0) & (wanted < V)).all():
            raise IndexError(f"a target is outside the vocabulary of {V} words")
        total = hidden.new_zeros((), dtype=torch.float32)
        grad_hidden = torch.empty_like(hidden) if with_grad else None
        grad_weight = None
        grad_bias = None if b is None else torch.zeros_like(b, dtype=torch.float32)
        buffer = h.new_empty(min(N, CHUNK_ROWS), len(w))
        for start in range(0, N, CHUNK_ROWS):
            rows = slice(start, min(start + CHUNK_ROWS, N))
            p = buffer[: rows.stop - start]
            if b is None:
                torch.mm(h[rows], w.T, out=p)
            else:
                torch.addmm(b, h[rows], w.T, out=p)
            p[:, V:] = -math.inf
            torch.softmax(p, dim=-1, out=p)
            row = torch.arange(len(p), device=p.device)
            p_target = p[row, wanted[rows]].float()
            # The smallest bfloat16 keeps a probability that underflows at 87 nats, not infinity.
            nats = -p_target.clamp_min(torch.finfo(torch.bfloat16).tiny).log()
            total += nats.where(counted[rows], 0).sum()
            if grad_hidden is None:
                continue
            # d loss / d logits = p - onehot(target), and nothing for a row that is ignored.
            p[row, wanted[rows]] = (p_target - 1).bfloat16()
            share = counted[rows, None] / count  # of each row in the mean
            grad_hidden[rows] = torch.mm(p, w) * share
            chunk_weight = torch.mm(p.T, (h[rows] * share).bfloat16())
            if grad_weight is None:
                grad_weight = chunk_weight.float()
            else:
                grad_weight += chunk_weight
            if grad_bias is not None:
                # A product with ones: summing bfloat16 down the columns is far slower.
                grad_bias += torch.mm(counted[None, rows].bfloat16(), p)[0]
        if grad_weight is not None:
            grad_bias = None if grad_bias is None else (grad_bias[:V] / count).to(weight.dtype)
            ctx.save_for_backward(grad_hidden, grad_weight[:V].to(weight.dtype), grad_bias)
        return total / count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        # The usual factor is 1, which a CPU can see at no cost and a GPU only by waiting.
        as_they_are = grad.device.type == "cpu" and grad.item() == 1
        scaled = (g if as_they_are or g is None else g.mul_(grad) for g in ctx.saved_tensors)
        return *scaled, None, None, None
