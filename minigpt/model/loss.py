"""Next-token cross-entropy: a dense reference, and methods that never hold all logits.

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

METHODS = ("auto", "bfloat16", "float32", "chunked", "dense")

# The methods that compute head and loss in one pass, in a precision of their own. The number is the
# rows of logits held at a time. Measured: fewer rows make the matrix products inefficient and sum
# the weight's gradient too often; more rows gain nothing.
FUSED = {"bfloat16": (torch.bfloat16, 1024), "float32": (torch.float32, 256)}

CHUNK_ROWS = 512  # rows of logits that torch's chunked operator holds at a time

# Rows of logits are padded to a multiple of this, so that they start on a cache line; padding gets
# probability 0. Without it, as at 50,257, products took up to a third longer.
ALIGNMENT = 64


def resolve_method(method: str, device: torch.device) -> str:
    """The method that `loss=auto` selects on a device; any other name is returned unchanged.

    Raises UserError for a fused method on a device other than CPU and CUDA.
    """
    if method in FUSED and device.type not in ("cpu", "cuda"):
        able = ", ".join(name for name in METHODS if name not in FUSED)
        raise UserError(f"loss={method} does not run on {device.type}; choose one of {able}")
    if method != "auto":
        return method
    if device.type != "cpu":
        return "chunked"
    return "bfloat16" if has_bfloat16_instructions() else "float32"


def has_bfloat16_instructions() -> bool:
    """True if this CPU multiplies bfloat16 faster than float32, as with AVX512-BF16.

    ONEDNN_MAX_CPU_ISA, which holds the library of the products to older instructions, counts.
    """
    return torch.cpu._is_avx512_bf16_supported() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


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
    # Autocast does not know the chunked op, so we cast its inputs ourselves. On CPU the method
    # alone decides: chunked and dense keep the dtype of their inputs.
    dtype = hidden.dtype
    if hidden.is_cuda and torch.is_autocast_enabled("cuda"):
        dtype = torch.get_autocast_dtype("cuda")
    with torch.autocast(hidden.device.type, enabled=False):
        if method in FUSED:
            loss = _FusedHead.apply(
                hidden, weight, bias, targets, count, *FUSED[method], torch.is_grad_enabled()
            )
        else:
            b = None if bias is None else bias.to(dtype)
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
            options=torch.nn.LinearCrossEntropyOptions(batch_chunk_size=CHUNK_ROWS),
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


class _FusedHead(torch.autograd.Function):
    """Head and loss with products in bfloat16 or float32, one chunk of rows at a time.

    The products accumulate in float32. One buffer serves all chunks: it holds a chunk's logits,
    then in place its probabilities, then in place its logits' gradient. So the forward pass
    already computes all gradients, and the backward pass only scales them.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        count: Tensor,
        dtype: torch.dtype,
        chunk_rows: int,
        with_grad: bool,
    ) -> Tensor:
        (N, C), V = hidden.shape, len(weight)
        h, w = hidden.to(dtype), weight.to(dtype)
        if bias is not None:
            # Adding a bias to rows of bfloat16 logits takes as long as their product, so it becomes
            # one more column of the weight, for a channel that is always 1.
            h = F.pad(h, (0, 1), value=1)  # (N, C + 1)
            w = torch.cat([w, bias.to(dtype)[:, None]], dim=1)  # (V, C + 1)
        is_counted = targets != IGNORE
        target_ids = targets.where(is_counted, 0)  # any valid id will do for an ignored row
        # Not on CUDA, where this check would force a device sync.
        if not target_ids.is_cuda and not ((target_ids >= 0) & (target_ids < V)).all():
            raise IndexError(f"a target lies outside the vocabulary of {V} ids")
        total = hidden.new_zeros((), dtype=torch.float32)
        grad_hidden = torch.empty_like(hidden) if with_grad else None
        grad_weight = None
        P = -(-V // ALIGNMENT) * ALIGNMENT
        buffer = h.new_empty(min(N, chunk_rows), P)  # (R, P)
        for start in range(0, N, chunk_rows):
            rows = slice(start, min(start + chunk_rows, N))
            padded = buffer[: rows.stop - start]
            p = padded[:, :V]  # logits until the softmax, then probabilities
            torch.mm(h[rows], w.T, out=p)
            padded[:, V:] = -math.inf
            torch.softmax(padded, dim=-1, out=padded)
            row = torch.arange(len(p), device=p.device)
            p_target = p[row, target_ids[rows]].float()  # (R)
            # A probability that underflows to 0 costs 87 nats instead of infinitely many.
            nats = -p_target.clamp_min(torch.finfo(torch.float32).tiny).log()
            if dtype == torch.float32:
                _mend_underflow(nats, p_target, h[rows], w, target_ids[rows])
            total += nats.where(is_counted[rows], 0).sum()
            if grad_hidden is None:
                continue
            # Gradient of a row's loss by its logits: p - onehot(target). The row's weight in the
            # mean, 0 for an ignored row, is multiplied in with the smaller factor of each product.
            p[row, target_ids[rows]] = (p_target - 1).to(dtype)
            row_weight = is_counted[rows, None] / count  # (R, 1)
            grad_hidden[rows] = torch.mm(p, w[:, :C]) * row_weight
            weighted_hidden = (h[rows] * row_weight).to(dtype)
            grad_weight = _add_product(grad_weight, padded.T, weighted_hidden)  # (P, C)
        if grad_weight is not None:
            grad = grad_weight[:V].to(weight.dtype)
            grad_bias = None if bias is None else grad[:, C].contiguous()
            ctx.save_for_backward(grad_hidden, grad[:, :C].contiguous(), grad_bias)
        return total / count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        # The factor is usually 1. Reading it is free on CPU but would force a sync on a GPU.
        is_one = grad.device.type == "cpu" and grad.item() == 1
        scaled = (g if is_one or g is None else g.mul_(grad) for g in ctx.saved_tensors)
        return *scaled, None, None, None, None, None


def _mend_underflow(
    nats: Float[Tensor, "R"],
    p_target: Float[Tensor, "R"],
    hidden: Float[Tensor, "R C"],
    weight: Float[Tensor, "V C"],
    targets: Int[Tensor, "R"],
) -> None:
    """Compute the loss of rows whose target has a probability below float32's range anew."""
    underflows = p_target < torch.finfo(torch.float32).tiny
    if underflows.any():
        logits = F.linear(hidden[underflows], weight)
        nats[underflows] = F.cross_entropy(logits, targets[underflows], reduction="none")


def _add_product(total: Tensor | None, a: Tensor, b: Tensor) -> Tensor:
    """total + a @ b in float32, in place where total is given."""
    if total is None:
        return torch.mm(a, b).float()
    if total.dtype == a.dtype:
        return total.addmm_(a, b)  # saves a pass over total
    return total.add_(torch.mm(a, b))


def perplexity(loss: float) -> float:
    """exp of a mean loss in nats; infinite if that overflows."""
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf
