"""Head and loss in one pass that makes the gradients as well and never holds all logits.

Shapes: N tokens, C channels (n_embd), V vocabulary, P = V padded, R rows of one chunk.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from minigpt.model.softcap import soft_cap_with_slope_

# Method -> (precision of the products, rows of logits held at a time). Measured: fewer rows make
# the matrix products inefficient and sum the weight's gradient too often; more rows gain nothing.
FUSED = {"bfloat16": (torch.bfloat16, 1024), "float32": (torch.float32, 512)}

# Rows of logits are padded to a multiple of this, so that they start on a cache line; padding gets
# probability 0. Without it, as at 50,257, products took up to a third longer.
ALIGNMENT = 64


class FusedHead(torch.autograd.Function):
    """Mean cross-entropy of the head with products in bfloat16 or float32, a chunk at a time.

    hidden (N, C), weight (V, C), bias (V) or None, target_ids (N), is_counted (N; False leaves a
    target out), count (how many are counted, at least 1), softcap of the logits or None -> scalar.
    The products accumulate in float32. One buffer serves all chunks: it holds a chunk's logits,
    then in place its probabilities, then in place its logits' gradient; a second one the slopes of
    a softcap. So the forward pass already computes all gradients, and the backward pass only
    scales them.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        target_ids: Tensor,
        is_counted: Tensor,
        count: Tensor,
        dtype: torch.dtype,
        chunk_rows: int,
        with_grad: bool,
        softcap: float | None,
    ) -> Tensor:
        (N, C), V = hidden.shape, len(weight)
        scale = softcap or 1.0
        h, w = _factors(hidden, weight, bias, dtype, softcap)
        _check_targets(target_ids, V)
        total = hidden.new_zeros((), dtype=torch.float32)
        grad_hidden = torch.empty_like(hidden) if with_grad else None
        grad_weight = None
        P = -(-V // ALIGNMENT) * ALIGNMENT
        buffer = h.new_empty(min(N, chunk_rows), P)  # (R, P)
        slopes = None if softcap is None else h.new_empty(len(buffer), V)
        for start in range(0, N or 1, chunk_rows):  # no rows: one empty chunk
            rows = slice(start, min(start + chunk_rows, N))
            padded = buffer[: rows.stop - start]
            p = padded[:, :V]  # logits until the softmax, then probabilities
            torch.mm(h[rows], w.T, out=p)
            if slopes is not None:
                soft_cap_with_slope_(p, slopes[: len(p)], scale)
            padded[:, V:] = -math.inf
            torch.softmax(padded, dim=-1, out=padded)
            row = torch.arange(len(p), device=p.device)
            p_target = p[row, target_ids[rows]].float()  # (R)
            # In bfloat16 a probability that underflows costs 87 nats instead of infinitely many.
            nats = -p_target.clamp_min(torch.finfo(torch.float32).tiny).log()
            if dtype == torch.float32:
                _mend_underflow(nats, p_target, h[rows], w, target_ids[rows], softcap)
            total += nats.where(is_counted[rows], 0).sum()
            if grad_hidden is None:
                continue
            # Gradient of a row's loss by its logits: p - onehot(target). The row's weight in the
            # mean, 0 for an ignored row, is multiplied in with the smaller factor of each product.
            p[row, target_ids[rows]] = (p_target - 1).to(dtype)
            if slopes is not None:
                p.mul_(slopes[: len(p)])
            row_weight = is_counted[rows, None] / count  # (R, 1)
            grad_hidden[rows] = torch.mm(p, w[:, :C]) * row_weight
            weighted_hidden = (h[rows] * (row_weight * scale)).to(dtype)
            if bias is not None:  # 1 or 0, which bfloat16 holds exactly, unlike 1 / count
                weighted_hidden[:, C] = is_counted[rows]
            grad_weight = _add_product(grad_weight, padded.T, weighted_hidden)  # (P, C)
        if grad_weight is not None:
            grad = grad_weight[:V].to(weight.dtype)
            grad_bias = None if bias is None else (grad_weight[:V, C] / count).to(bias.dtype)
            ctx.save_for_backward(grad_hidden, grad[:, :C].contiguous(), grad_bias)
        return total / count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        # The factor is usually 1. Reading it is free on CPU but would force a sync on a GPU.
        is_one = grad.device.type == "cpu" and grad.item() == 1
        scaled = (g if is_one or g is None else g.mul_(grad) for g in ctx.saved_tensors)
        return *scaled, None, None, None, None, None, None, None


def _factors(
    hidden: Float[Tensor, "N C"],
    weight: Float[Tensor, "V C"],
    bias: Float[Tensor, "V"] | None,
    dtype: torch.dtype,
    softcap: float | None,
) -> tuple[Tensor, Tensor]:
    """The two factors of the logits; of the logits / softcap, without another pass over them."""
    h, w = (hidden if softcap is None else hidden / softcap).to(dtype), weight.to(dtype)
    if bias is None:
        return h, w
    # Adding a bias to rows of bfloat16 logits takes as long as their product, so it becomes one
    # more column of the weight, for a channel that is always 1: bfloat16 would round 1 / softcap,
    # and so scale the whole bias.
    scaled = bias if softcap is None else bias / softcap
    return F.pad(h, (0, 1), value=1.0), torch.cat([w, scaled.to(dtype)[:, None]], dim=1)


def _check_targets(target_ids: Int[Tensor, "N"], vocab_size: int) -> None:
    # Not on CUDA, where this check would force a device sync.
    if not target_ids.is_cuda and not ((target_ids >= 0) & (target_ids < vocab_size)).all():
        raise IndexError(f"a target lies outside the vocabulary of {vocab_size} ids")


def _mend_underflow(
    nats: Float[Tensor, "R"],
    p_target: Float[Tensor, "R"],
    hidden: Float[Tensor, "R C"],  # as _factors gives it
    weight: Float[Tensor, "V C"],
    targets: Int[Tensor, "R"],
    softcap: float | None,
) -> None:
    """Compute the loss of rows whose target has a probability below float32's range anew."""
    underflows = p_target < torch.finfo(torch.float32).tiny
    if underflows.any():
        logits = F.linear(hidden[underflows], weight)
        if softcap is not None:
            logits = logits.tanh() * softcap
        nats[underflows] = F.cross_entropy(logits, targets[underflows], reduction="none")


def _add_product(total: Tensor | None, a: Tensor, b: Tensor) -> Tensor:
    """total + a @ b in float32, in place where total is given."""
    if total is None:
        return torch.mm(a, b).float()
    if total.dtype == a.dtype:
        return total.addmm_(a, b)  # saves a pass over total
    return total.add_(torch.mm(a, b))
