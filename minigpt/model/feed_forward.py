"""The feed-forward layer of a block and its activations.

Shapes: B batch, T tokens, C channels (n_embd), U hidden units.
"""

from collections.abc import Callable

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

# GELU (Hendrycks and Gimpel, 2016) by GPT-2's tanh approximation, or exact; torch's names for them.
GELUS = {"gelu_tanh": "tanh", "gelu": "none"}
SWIGLU_MULTIPLE = 8  # hidden units of a SwiGLU layer come in eights, as matrix kernels like them


def _gelu_tanh(x: Float[Tensor, "B T U"]) -> Float[Tensor, "B T U"]:
    return F.gelu(x, approximate=GELUS["gelu_tanh"])


def _gelu(x: Float[Tensor, "B T U"]) -> Float[Tensor, "B T U"]:
    return F.gelu(x, approximate=GELUS["gelu"])


def _relu2(x: Float[Tensor, "B T U"]) -> Float[Tensor, "B T U"]:
    """Squared ReLU (So et al., 2021)."""
    return F.relu(x).square()


def _swiglu(x: Float[Tensor, "B T W"]) -> Float[Tensor, "B T W//2"]:
    """The second half of the channels, gated by the first (Shazeer, 2020)."""
    gate, up = x.chunk(2, dim=-1)
    return F.silu(gate) * up


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu_tanh": _gelu_tanh,
    "gelu": _gelu,
    "relu2": _relu2,
    "swiglu": _swiglu,
}


def hidden_units(activation: str, mlp_ratio: int, n_embd: int) -> int:
    """U: mlp_ratio * n_embd, of which swiglu takes two thirds, as it has three matrices for two.

    Two thirds are rarely a whole number, so they are rounded down to a multiple of
    SWIGLU_MULTIPLE: a SwiGLU layer never has more parameters than the layer that it replaces.
    """
    full = mlp_ratio * n_embd
    if activation != "swiglu":
        return full
    return 2 * full // 3 // SWIGLU_MULTIPLE * SWIGLU_MULTIPLE


class FeedForward(nn.Module):
    """Two linear layers with one of ACTIVATIONS between them."""

    def __init__(self, n_embd: int, mlp_ratio: int, bias: bool, activation: str) -> None:
        super().__init__()
        U = hidden_units(activation, mlp_ratio, n_embd)
        self.fc = nn.Linear(n_embd, 2 * U if activation == "swiglu" else U, bias=bias)
        self.activate = ACTIVATIONS[activation]
        self.proj = nn.Linear(U, n_embd, bias=bias)

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        """(B, T, C) -> (B, T, C), through (B, T, U)."""
        return self.proj(self.activate(self.fc(x)))
