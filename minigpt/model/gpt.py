"""The network: tokens -> hidden states -> logits.

Shapes: B batch, T time (tokens), C channels (n_embd), V vocabulary.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from minigpt.errors import UserError, check_choice, check_positive, check_types
from minigpt.model.attention import KeyValueCache
from minigpt.model.block import Block
from minigpt.model.dropout import Dropout

INITS = ("gpt2", "torch")
POSITIONS = ("learned", "sinusoidal", "none")


@dataclass(frozen=True)
class GPTConfig:
    """The network's shape, checked once; its keys are those of the `model` config group.

    Raises UserError, naming the key, on a wrong type, a size below 1, a dropout outside [0, 1),
    or an n_embd that the heads do not divide.
    """

    n_layer: int
    n_head: int
    n_embd: int
    mlp_ratio: int
    block_size: int
    vocab_size: int
    dropout: float  # on attention weights and on what each block adds to the stream
    embd_dropout: float  # on the embeddings, GPT-2's third place
    bias: bool  # in the linear layers and norms of the blocks
    head_bias: bool
    tie_weights: bool  # the head reads with the token embedding's own weights
    positions: str  # learned; sinusoidal (Vaswani et al., 2017); none: told by the causal mask
    init: str  # gpt2: N(0, 0.02), residual projections scaled down; torch: each layer's default

    def __post_init__(self) -> None:
        check_types("model", self)
        sizes = ("n_layer", "n_head", "n_embd", "mlp_ratio", "block_size", "vocab_size")
        check_positive("model", self, *sizes)
        for name in ("dropout", "embd_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"model.{name} must lie in [0, 1), got {getattr(self, name)}")
        if self.n_embd % self.n_head:
            raise UserError(
                f"model.n_embd={self.n_embd} is not a multiple of model.n_head={self.n_head}; "
                f"{self.n_head * math.ceil(self.n_embd / self.n_head)} would be"
            )
        check_choice("model.positions", self.positions, POSITIONS)
        check_choice("model.init", self.init, INITS)
        if self.tie_weights and self.init == "torch":
            raise UserError(
                "model.tie_weights=true needs model.init=gpt2: PyTorch's default embedding, "
                "N(0, 1), is far too large for a head"
            )


class GPT(nn.Module):
    """GPT-2's decoder-only transformer (Radford et al., 2019), at any size.

    Hidden states and head are separate steps, so that a loss can take the head in pieces and
    never hold all logits.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        c = config
        self.wte = nn.Embedding(c.vocab_size, c.n_embd)
        self.wpe = _position_embedding(c)
        self.dropout = Dropout(c.embd_dropout)
        self.blocks = nn.ModuleList(
            Block(c.n_embd, c.n_head, c.mlp_ratio, c.dropout, c.bias) for _ in range(c.n_layer)
        )
        self.ln_f = nn.LayerNorm(c.n_embd, bias=c.bias)
        self.head = nn.Linear(c.n_embd, c.vocab_size, bias=c.head_bias)
        if c.init == "gpt2":
            self._init_gpt2()
        if c.tie_weights:
            self.head.weight = self.wte.weight

    def _init_gpt2(self) -> None:
        # Each block adds twice to the residual stream; scaling those projections by
        # 1/sqrt(2 n_layer) keeps the stream's variance independent of depth.
        residual_std = 0.02 / math.sqrt(2 * self.config.n_layer)
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=residual_std if name.endswith(".proj") else 0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def hidden(self, tokens: Tensor, caches: list[KeyValueCache] | None = None) -> Tensor:
        """(B, T) token ids -> (B, T, C) final, normalised hidden states; T at most block_size.

        With caches the tokens follow those that they hold, and are added to them.
        """
        x = self.wte(tokens)
        if self.wpe is not None:
            start = caches[0].length if caches else 0
            x = x + self.wpe(torch.arange(start, start + tokens.shape[1], device=tokens.device))
        x = self.dropout(x)
        for i, block in enumerate(self.blocks):
            x = block(x, caches[i]) if caches else block(x)
        return self.ln_f(x)

    def empty_caches(self, sequences: int) -> list[KeyValueCache]:
        """One for each block, with room for block_size positions."""
        c = self.config
        shape = sequences, c.n_head, c.block_size, c.n_embd // c.n_head
        return [KeyValueCache(shape, like=self.wte.weight) for _ in self.blocks]

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T) token ids -> (B, T, V) logits of the token that follows each position."""
        return self.head(self.hidden(tokens))


class SinusoidalEmbedding(nn.Module):
    """Position -> sines and cosines of falling frequencies (Vaswani et al., 2017); nothing learned.

    (T) positions -> (T, C), scaled to the deviation of a learned embedding at its start.
    """

    def __init__(self, n_embd: int) -> None:
        super().__init__()
        self.n_embd = n_embd

    def forward(self, positions: Tensor) -> Tensor:
        pairs = torch.arange(0, self.n_embd, 2, device=positions.device)
        angles = positions[:, None] * 10_000.0 ** (-pairs / self.n_embd)
        waves = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
        return waves[:, : self.n_embd] * (0.02 * math.sqrt(2))


def _position_embedding(config: GPTConfig) -> nn.Module | None:
    if config.positions == "learned":
        return nn.Embedding(config.block_size, config.n_embd)
    return SinusoidalEmbedding(config.n_embd) if config.positions == "sinusoidal" else None


@lru_cache  # hundreds of runs can share a shape
def training_flops_per_token(config: GPTConfig) -> int:
    """Floating-point operations of one token's forward and backward pass.

    Six for each parameter that multiplies (the embeddings only look up), and attention's own
    products of queries, keys and values (Kaplan et al., 2020; PaLM's appendix B).
    """
    parts = count_parameters(config)
    multiplying = parts["blocks"] + config.n_embd * config.vocab_size
    return 6 * multiplying + 12 * config.n_layer * config.n_embd * config.block_size


def count_parameters(config: GPTConfig) -> dict[str, int]:
    """Parameters by part, counted on the network itself without allocating it; tied weights once.

    The parts sum to the total.
    """
    with torch.device("meta"):
        net = GPT(config)
    parts = {
        "token embedding": net.wte,
        "position embedding": net.wpe,
        "blocks": net.blocks,
        "final norm": net.ln_f,
        "head": net.head,
    }
    seen: set[int] = set()
    counts = {}
    for name, part in parts.items():
        new = [p for p in part.parameters() if id(p) not in seen] if part is not None else []
        seen.update(id(p) for p in new)
        counts[name] = sum(p.numel() for p in new)
    return counts
