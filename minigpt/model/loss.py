"""Next-token cross-entropy: a dense reference, and methods that never hold all logits.

Shapes: N tokens (B * T), C channels (n_embd), V vocabulary.
Logits, not weights, dominate the memory of a small model: for 32 x 128 tokens and a vocabulary of
50,257 they take 823 MB in float32, and their gradient takes as much again.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from minigpt.errors import UserError
from minigpt.model.fused_head import FUSED, FusedHead
from minigpt.model.library_losses import LIBRARIES, check_library, summed_library_loss
from minigpt.model.softcap import soft_capped

IGNORE = -100  # a target with this value is left out of the loss

METHODS = ("auto", "bfloat16", "float32", "chunked", "dense", *LIBRARIES)

CHUNK_ROWS = 512  # rows of logits that torch's chunked operator holds at a time

# Devices of the methods that do not run on every device.
DEVICES = {
    **dict.fromkeys(FUSED, ("cpu", "cuda")),
    **dict.fromkeys(LIBRARIES, ("cuda",)),
}


def check_method(
    method: str, device: torch.device, has_bias: bool, has_softcap: bool = False
) -> None:
    """Raises UserError if a method cannot run on a device, or with this head."""
    able = [name for name in METHODS if device.type in DEVICES.get(name, (device.type,))]
    if method not in able:
        raise UserError(
            f"loss={method} does not run on {device.type}; choose one of {', '.join(able)}"
        )
    if method in LIBRARIES:
        check_library(method, has_bias, has_softcap)


def check_smoothing(label_smoothing: float, has_softcap: bool) -> None:
    """Raises UserError for smoothed targets of capped logits: their mean is no longer linear."""
    if label_smoothing and has_softcap:
        raise UserError(
            f"label_smoothing={label_smoothing} does not go with model.logit_softcap; set "
            "label_smoothing=0 or model.logit_softcap=null"
        )


def resolve_method(method: str, device: torch.device) -> str:
    """The method that `loss=auto` selects on a device; any other name is returned unchanged."""
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


def has_chunked_operator() -> bool:
    """True from torch 2.13 on; before, `chunked` is computed as `dense`."""
    return hasattr(F, "linear_cross_entropy")


def next_token_loss(
    hidden: Float[Tensor, "*N C"],
    weight: Float[Tensor, "V C"],
    bias: Float[Tensor, "V"] | None,
    targets: Int[Tensor, "*N"],
    method: str = "dense",
    label_smoothing: float = 0.0,
    softcap: float | None = None,
) -> Float[Tensor, ""]:
    """Mean cross-entropy in nats per target that is not IGNORE; 0 if there is no such target.

    hidden (..., C), weight (V, C) and bias (V) or None of the head, targets (...) -> scalar.
    All methods compute the same function; "auto" must be resolved first. Label smoothing spreads
    that share of each target evenly over the vocabulary (Szegedy et al., 2016). softcap: of the
    logits. Raises UserError for a library with a softcap, or label smoothing with one.
    """
    check_smoothing(label_smoothing, softcap is not None)
    hidden, targets = hidden.flatten(0, -2), targets.flatten()  # (N, C), (N)
    is_counted = targets != IGNORE
    count = is_counted.sum().clamp_min(1)  # scalar; at least 1 avoids 0 / 0
    # Autocast does not know the chunked op, so we cast its inputs ourselves. On CPU the method
    # alone decides: chunked and dense keep the dtype of their inputs.
    dtype = hidden.dtype
    if hidden.is_cuda and torch.is_autocast_enabled("cuda"):
        dtype = torch.get_autocast_dtype("cuda")
    with torch.autocast(hidden.device.type, enabled=False):
        fused = _fused_settings(method, hidden.device, dtype, softcap)
        if fused is not None:
            ids = targets.where(is_counted, 0)  # any valid id will do for an ignored row
            with_grad = torch.is_grad_enabled()
            loss = FusedHead.apply(
                hidden, weight, bias, ids, is_counted, count, *fused, with_grad, softcap
            )
        else:
            b = None if bias is None else bias.to(dtype)
            h, w = hidden.to(dtype), weight.to(dtype)
            loss = _summed_loss(h, w, b, targets, method, softcap) / count
    if label_smoothing:
        loss = loss + label_smoothing * _smoothing_penalty(hidden, weight, bias, targets) / count
    return loss


def _fused_settings(
    method: str, device: torch.device, dtype: torch.dtype, softcap: float | None
) -> tuple[torch.dtype, int] | None:
    """Precision and rows of a chunk, where a method is fused; None where it is not.

    torch's chunked operator knows no softcap, so the fused head stands in for it.
    """
    if method == "chunked" and softcap is not None and device.type in DEVICES["float32"]:
        return FUSED["bfloat16" if dtype == torch.bfloat16 else "float32"]
    return FUSED.get(method)


def _summed_loss(
    hidden: Float[Tensor, "N C"],
    weight: Float[Tensor, "V C"],
    bias: Float[Tensor, "V"] | None,
    targets: Int[Tensor, "N"],
    method: str,
    softcap: float | None,
) -> Float[Tensor, ""]:
    """Cross-entropy of a method that is not fused, summed over the targets; scalar."""
    if method in LIBRARIES:
        if softcap is not None:
            check_library(method, bias is not None, has_softcap=True)
        return summed_library_loss(method, hidden, weight, bias, targets)
    if method == "chunked" and has_chunked_operator() and softcap is None:
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
    logits = soft_capped(logits.to(torch.promote_types(logits.dtype, torch.float32)), softcap)
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


def perplexity(loss: float) -> float:
    """exp of a mean loss in nats; infinite if that overflows."""
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf
