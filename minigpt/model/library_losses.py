"""Fused head and loss of two libraries, for NVIDIA GPUs: Liger Kernel and Cut Cross-Entropy.

Shapes: N tokens, C channels (n_embd), V vocabulary.
"""

import importlib.util

from jaxtyping import Float, Int
from torch import Tensor

from minigpt.errors import UserError

# Method -> (module, package). Liger Kernel: Hsu et al., 2024; Cut Cross-Entropy: Wijmans et al.,
# 2025, which leaves out gradients too small to change a bfloat16 number and takes no bias.
LIBRARIES = {
    "liger": ("liger_kernel", "liger-kernel"),
    "cut": ("cut_cross_entropy", "cut-cross-entropy"),
}


def check_library(method: str, has_bias: bool, has_softcap: bool) -> None:
    """Raises UserError if a library is not installed or cannot serve this head."""
    module, package = LIBRARIES[method]
    if importlib.util.find_spec(module) is None:
        raise UserError(f"loss={method} needs a package: pip install {package}")
    if method == "cut" and has_bias:
        raise UserError("loss=cut has no bias; set model.head_bias=false or use loss=auto")
    if has_softcap:
        raise UserError(
            f"loss={method} does not cap logits; set model.logit_softcap=null or use loss=auto"
        )


def summed_library_loss(
    method: str,
    hidden: Float[Tensor, "N C"],
    weight: Float[Tensor, "V C"],
    bias: Float[Tensor, "V"] | None,
    targets: Int[Tensor, "N"],
) -> Float[Tensor, ""]:
    """Cross-entropy by a library, summed over the targets that are not -100; scalar."""
    if method == "liger":
        from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy

        loss: Tensor = liger_fused_linear_cross_entropy(
            hidden, weight, targets, bias, reduction="sum"
        )
        return loss
    from cut_cross_entropy import linear_cross_entropy

    cut_loss: Tensor = linear_cross_entropy(hidden, weight, targets, reduction="sum")
    return cut_loss
