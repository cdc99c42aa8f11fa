"""The transformer block: attention and a feed-forward layer, each with a residual connection.

Shapes: B batch, T tokens, C channels (n_embd).
"""

from jaxtyping import Float
from torch import Tensor, nn

from minigpt.model.attention import CausalSelfAttention, KeyValueCache, Places
from minigpt.model.dropout import Dropout

# GELU (Hendrycks and Gimpel, 2016) by GPT-2's tanh approximation, or exact; torch's names for them.
ACTIVATIONS = {"gelu_tanh": "tanh", "gelu": "none"}


class MLP(nn.Module):
    """Feed-forward layer with one of ACTIVATIONS."""

    def __init__(self, n_embd: int, mlp_ratio: int, bias: bool, activation: str) -> None:
        super().__init__()
        self.fc = nn.Linear(n_embd, mlp_ratio * n_embd, bias=bias)
        self.gelu = nn.GELU(approximate=ACTIVATIONS[activation])
        self.proj = nn.Linear(mlp_ratio * n_embd, n_embd, bias=bias)

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        """(B, T, C) -> (B, T, C), through (B, T, mlp_ratio * C)."""
        return self.proj(self.gelu(self.fc(x)))


class Block(nn.Module):
    """Pre-norm transformer block, as in GPT-2 (Radford et al., 2019)."""

    def __init__(
        self,
        n_embd: int,
        n_head: int,
        mlp_ratio: int,
        dropout: float,
        bias: bool,
        activation: str,
    ) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(n_embd, bias=bias)
        self.attn = CausalSelfAttention(n_embd, n_head, dropout, bias)
        self.ln_2 = nn.LayerNorm(n_embd, bias=bias)
        self.mlp = MLP(n_embd, mlp_ratio, bias, activation)
        self.dropout = Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "B T C"],
        cache: KeyValueCache | None = None,
        places: Places | None = None,
    ) -> Float[Tensor, "B T C"]:
        """(B, T, C) -> (B, T, C)."""
        x = x + self.dropout(self.attn(self.ln_1(x), cache, places))
        return x + self.dropout(self.mlp(self.ln_2(x)))
