"""The transformer block: attention and a feed-forward layer, each with a residual connection.

Shapes: B batch, T tokens, C channels (n_embd).
"""

from jaxtyping import Float
from torch import Tensor, nn

from minigpt.model.attention import CausalSelfAttention, KeyValueCache, Places
from minigpt.model.config import GPTConfig
from minigpt.model.dropout import Dropout
from minigpt.model.feed_forward import FeedForward
from minigpt.model.norms import make_norm
from minigpt.model.rotary import Rotation
from minigpt.model.shortcut import EmbeddingShortcut


class Block(nn.Module):
    """Pre-norm transformer block, as in GPT-2 (Radford et al., 2019) where nothing is changed."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        c = config
        self.shortcut = EmbeddingShortcut() if c.embedding_shortcuts else None
        self.ln_1 = make_norm(c.norm, c.n_embd, c.bias)
        self.attn = CausalSelfAttention(
            c.n_embd, c.n_head, c.dropout, c.bias, c.qk_norm, c.scaling.score_divisor
        )
        self.ln_2 = make_norm(c.norm, c.n_embd, c.bias)
        self.mlp = FeedForward(c.n_embd, c.mlp_ratio, c.bias, c.activation)
        self.dropout = Dropout(c.dropout)

    def forward(
        self,
        x: Float[Tensor, "B T C"],
        embedding: Float[Tensor, "B T C"] | None = None,
        rotation: Rotation | None = None,
        cache: KeyValueCache | None = None,
        places: Places | None = None,
    ) -> Float[Tensor, "B T C"]:
        """(B, T, C) -> (B, T, C).

        embedding: normalised, for the shortcut; rotation: of rotary positions.
        """
        if self.shortcut is not None:
            assert embedding is not None
            x = self.shortcut(x, embedding)
        x = x + self.dropout(self.attn(self.ln_1(x), rotation, cache, places))
        return x + self.dropout(self.mlp(self.ln_2(x)))
