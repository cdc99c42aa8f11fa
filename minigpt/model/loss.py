"""Next-token cross-entropy: a dense reference, and two methods that never hold all logits.

Shapes: N tokens (B * T), C channels (n_embd), V vocabulary, P = V padded, R rows of one chunk.
Logits, not weights, dominate the memory of a small model: for 32 x 128 tokens and a vocabulary of
50,257 they take 823 MB in float32, and their gradient takes as much again.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from minigpt.errors import UserError

IGNORE = -100  # a target with this value is left out of the loss

METHODS = ("auto", "bfloat16", "chunked", "dense")

# Rows of logits held at a time in bfloat16; half as many in float32. Measured: fewer rows make the
# matrix products inefficient and sum the weight's gradient too often; more rows gain nothing.
CHUNK_ROWS = 1024

# The bfloat16 method pads the vocabulary to a multiple of this; padding gets probability 0. Without
# padding, as at 50,257, rows of logits are not aligned to cache lines: products took up to a third
# longer.
ALIGNMENT = 64


def resolve_method(method: str, device: torch.device) -> str:
    """The method that `loss=auto` selects on a device; any other name is returned unchanged.

    Raises UserError for bfloat16 on a device other than CPU and CUDA.
    """
    if method == "bfloat16" and device.type not in ("cpu", "cuda"):
        raise UserError(f"loss=bfloat16 does not run on {device.type}; use loss=auto")
    if method != "auto":
        return method
    return "bfloat16" if device.type == "cpu" and has_bfloat16_instructions() else "chunked"


def has_bfloat16_instructions() -> bool:
    """True if this CPU multiplies bfloat16 faster than float32: it has AVX512-BF16."""
    return torch.cpu._is_avx512_bf16_supported()


def next_token_loss(
    hidden: Float[Tensor, "*N C"],
    weight: Float[Tensor, "V C"],
    bias: Float[Tensor, "V"] | None,
    targets: Int[Tensor, "*N"],
    method: str = "dense",
    label_smoothing: float = 0.0,
) -> Float[Tensor, ""]:
    """Mean cross-entropy in nats per target that is not IGNORE; 0 if there is no such target.

    hidden (..., C), weight (V, C) and bias (V) or None of the head, targets (...) -> scalar.
    All methods compute the same function; "auto" must be resolved first. Label smoothing spreads
    that share of each target evenly over the vocabulary (Szegedy et al., 2016).
    """
    hidden, targets = hidden.flatten(0, -2), targets.flatten()  # (N, C), (N)
    count = (targets != IGNORE).sum().clamp_min(1)  # scalar; at least 1 avoids 0 / 0
    if method == "bfloat16":
        loss = _Bfloat16Head.apply(hidden, weight, bias, targets, count, torch.is_grad_enabled())
    else:
        # Autocast does not know the chunked op, so we cast its inputs ourselves. On CPU the method
        # alone decides: chunked and dense keep the dtype of their inputs.
        dtype = hidden.dtype
        if hidden.is_cuda and torch.is_autocast_enabled("cuda"):
            dtype = torch.get_autocast_dtype("cuda")
        b = None if bias is None else bias.to(dtype)
        with torch.autocast(hidden.device.type, enabled=False):
            loss = _summed_loss(hidden.to(dtype), weight.to(dtype), b, targets, method) / count
    if label_smoothing:
        loss = loss + label_smoothing * _smoothing_penalty(hidden, weight, bias, targets) / count
    return loss


def _summed_loss(
    hidden: Float[Tensor, "N C"],
    weight: Float[Tensor, "V C"],
    bias: Float[Tensor, "V"] | None,
    targets: Int[Tensor, "N"],
    method: str,
) -> Float[Tensor, ""]:
    """Cross-entropy of the dense or chunked method, summed over the targets; scalar."""
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
    logits = F.linear(hidden, weight, bias)  # (N, V)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return F.cross_entropy(logits, targets, reduction="sum", ignore_index=IGNORE)


def _smoothing_penalty(
    hidden: Float[Tensor, "N C"],
    weight: Float[Tensor, "V C"],
    bias: Float[Tensor, "V"] | None,
    targets: Int[Tensor, "N"],
) -> Float[Tensor, ""]:
    """Target logit minus mean logit, summed over the targets; scalar.

    The mean of -log p over the vocabulary equals -log p of the target plus this difference: the
    log-sum-exp cancels. What remains is linear in hidden, so it needs no logits.
    """
    is_counted = targets != IGNORE
    target_ids = targets.where(is_counted, 0)  # any valid id will do for an ignored row
    difference = (hidden * (weight[target_ids] - weight.mean(0))).sum(-1)  # (N)
    if bias is not None:
        difference = difference + bias[target_ids] - bias.mean()
    # A boolean index instead of `where` would make the CPU wait for the GPU.
    return difference.where(is_counted, 0).sum()


def _padded(parameter: Tensor) -> Tensor:
    """(V, ...) -> (P, ...) in bfloat16; the rows from V on are zero."""
    V = len(parameter)
    P = -(-V // ALIGNMENT) * ALIGNMENT
    padded = parameter.new_empty(P, *parameter.shape[1:], dtype=torch.bfloat16)
    padded[:V] = parameter
    padded[V:] = 0
    return padded


class _Bfloat16Head(torch.autograd.Function):
    """Head and loss with bfloat16 products, one chunk of rows at a time.

    The products take bfloat16 inputs and accumulate in float32. One buffer serves all chunks: it
    holds a chunk's logits, then in place its probabilities, then in place its logits' gradient.
    So the forward pass already computes all gradients, and the backward pass only scales them.
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
        is_counted = targets != IGNORE
        target_ids = targets.where(is_counted, 0)  # any valid id will do for an ignored row
        # Not on CUDA, where this check would force a device sync.
        if not target_ids.is_cuda and not ((target_ids >= 0) & (target_ids < V)).all():
            raise IndexError(f"a target lies outside the vocabulary of {V} ids")
        total = hidden.new_zeros((), dtype=torch.float32)
        grad_hidden = torch.empty_like(hidden) if with_grad else None
        grad_weight = None
        grad_bias = None if b is None else torch.zeros_like(b, dtype=torch.float32)
        buffer = h.new_empty(min(N, CHUNK_ROWS), len(w))  # (R, P)
        for start in range(0, N, CHUNK_ROWS):
            rows = slice(start, min(start + CHUNK_ROWS, N))
            p = buffer[: rows.stop - start]  # logits until the softmax, then probabilities
            if b is None:
                torch.mm(h[rows], w.T, out=p)
            else:
                torch.addmm(b, h[rows], w.T, out=p)
            p[:, V:] = -math.inf
            torch.softmax(p, dim=-1, out=p)
            row = torch.arange(len(p), device=p.device)
            p_target = p[row, target_ids[rows]].float()  # (R)
            # A probability that underflows to 0 costs 87 nats instead of infinitely many.
            nats = -p_target.clamp_min(torch.finfo(torch.bfloat16).tiny).log()
            total += nats.where(is_counted[rows], 0).sum()
            if grad_hidden is None:
                continue
            # Gradient of a row's loss by its logits: p - onehot(target). The row's weight in the
            # mean, 0 for an ignored row, is multiplied in with the smaller factor of each product.
            p[row, target_ids[rows]] = (p_target - 1).bfloat16()
            row_weight = is_counted[rows, None] / count  # (R, 1)
            grad_hidden[rows] = torch.mm(p, w) * row_weight
            chunk_grad_weight = torch.mm(p.T, (h[rows] * row_weight).bfloat16())  # (P, C)
            if grad_weight is None:
                grad_weight = chunk_grad_weight.float()
            else:
                grad_weight += chunk_grad_weight
            if grad_bias is not None:
                # A product with ones, because summing bfloat16 over rows is far slower.
                grad_bias += torch.mm(is_counted[None, rows].bfloat16(), p)[0]
        if grad_weight is not None:
            grad_bias = None if grad_bias is None else (grad_bias[:V] / count).to(weight.dtype)
            ctx.save_for_backward(grad_hidden, grad_weight[:V].to(weight.dtype), grad_bias)
        return total / count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        # The factor is usually 1. Reading it is free on CPU but would force a sync on a GPU.
        is_one = grad.device.type == "cpu" and grad.item() == 1
        scaled = (g if is_one or g is None else g.mul_(grad) for g in ctx.saved_tensors)
        return *scaled, None, None, None


def perplexity(loss: float) -> float:
    """exp of a mean loss in nats; infinite if that overflows."""
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf
