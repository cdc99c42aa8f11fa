"""The GPT network, its configuration, and its counts of parameters and operations.

Shapes: B batch, T tokens, C channels (n_embd), V vocabulary.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from minigpt.errors import UserError, check_choice, check_positive, check_types
from minigpt.model.attention import KeyValueCache, Places
from minigpt.model.block import ACTIVATIONS, Block
from minigpt.model.dropout import Dropout
from minigpt.model.positions import POSITIONS, position_embedding

INITS = ("gpt2", "torch")


@dataclass(frozen=True)
class GPTConfig:
    """Sizes and options of the network: the keys of the `model` config group.

    Raises UserError, naming the key, on a wrong type, a size below 1, a dropout outside [0, 1),
    an n_embd that is not a multiple of n_head, or an unknown or unusable option.
    """

    READ_ELSEWHERE: ClassVar = ("from",)  # keys of the group that do not describe the network

    n_layer: int
    n_head: int
    n_embd: int
    mlp_ratio: int  # the feed-forward layer has mlp_ratio * n_embd hidden units
    block_size: int  # context length in tokens
    vocab_size: int
    dropout: float  # on attention weights and on both residual branches of a block
    embd_dropout: float  # on the sum of token and position embedding
    bias: bool  # in linear layers and layer norms, the head excepted
    head_bias: bool
    tie_weights: bool  # share one matrix between token embedding and head
    positions: str  # learned, sinusoidal or none; without, the causal mask alone tells the order
    init: str  # gpt2: N(0, 0.02) with smaller residual projections; torch: each layer's default
    activation: str = "gelu_tanh"  # of the feed-forward layer; or gelu. Older checkpoints lack it

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
        check_choice("model.activation", self.activation, ACTIVATIONS)
        if self.tie_weights and self.init == "torch":
            raise UserError(
                "model.tie_weights=true needs model.init=gpt2: PyTorch's default embedding, "
                "N(0, 1), is far too large for a head"
            )


class GPT(nn.Module):
    """Decoder-only transformer with the architecture of GPT-2 (Radford et al., 2019).

    Hidden states and logits are separate steps, so that the loss can apply the head in chunks and
    never hold all logits in memory.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        c = config
        self.wte = nn.Embedding(c.vocab_size, c.n_embd)
        self.wpe = position_embedding(c.positions, c.block_size, c.n_embd)
        self.dropout = Dropout(c.embd_dropout)
        self.blocks = nn.ModuleList(
            Block(c.n_embd, c.n_head, c.mlp_ratio, c.dropout, c.bias, c.activation)
            for _ in range(c.n_layer)
        )
        self.ln_f = nn.LayerNorm(c.n_embd, bias=c.bias)
        self.head = nn.Linear(c.n_embd, c.vocab_size, bias=c.head_bias)
        if c.init == "gpt2":
            self._init_gpt2()
        if c.tie_weights:
            self.head.weight = self.wte.weight

    def _init_gpt2(self) -> None:
        # The residual stream is the sum of 2 * n_layer branches. Scaling their last projections
        # by 1 / sqrt(2 * n_layer) keeps its variance independent of depth.
        residual_std = 0.02 / math.sqrt(2 * self.config.n_layer)
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=residual_std if name.endswith(".proj") else 0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def hidden(
        self,
        tokens: Int[Tensor, "B T"],
        caches: list[KeyValueCache] | None = None,
        places: Places | None = None,
    ) -> Float[Tensor, "B T C"]:
        """(B, T) token ids -> (B, T, C) hidden states after the final norm; T at most block_size.

        With caches, one per block, the tokens continue the cached ones and are appended to them.
        places: where, if the rows of the caches differ in length; T is 1 then.
        """
        x = self.wte(tokens)  # (B, T, C)
        if self.wpe is not None:
            if places is not None:
                positions = places.positions  # (B, 1)
            else:
                start = caches[0].length if caches else 0
                positions = torch.arange(start, start + tokens.shape[1], device=tokens.device)
            x = x + self.wpe(positions)  # (T, C), broadcast over the batch; (B, 1, C) with places
        x = self.dropout(x)
        for i, block in enumerate(self.blocks):
            # With caches the length changes at each call; forward itself is never compiled.
            x = block.forward(x, caches[i], places) if caches else block(x)
        return self.ln_f(x)

    def empty_caches(self, sequences: int) -> list[KeyValueCache]:
        """One empty cache per block, with room for block_size positions."""
        c = self.config
        shape = sequences, c.n_head, c.block_size, c.n_embd // c.n_head
        return [KeyValueCache(shape, like=self.wte.weight) for _ in self.blocks]

    def forward(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """(B, T) token ids -> (B, T, V) logits of the token that follows each position."""
        return self.head(self.hidden(tokens))


@lru_cache  # a report may ask for hundreds of runs of the same shape
def training_flops_per_token(config: GPTConfig) -> int:
    """Floating-point operations per token of a forward and a backward pass, without dropout.

    Six per parameter of a matrix product (embeddings only look up), plus the two products inside
    attention (Kaplan et al., 2020; PaLM, Chowdhery et al., 2022, appendix B).
    """
    matrix_parameters = count_parameters(config)["blocks"] + config.n_embd * config.vocab_size
    attention = 12 * config.n_layer * config.n_embd * config.block_size
    return 6 * matrix_parameters + attention


def count_parameters(config: GPTConfig) -> dict[str, int]:
    """Number of parameters of each part; they sum to the total, as tied weights count once."""
    with torch.device("meta"):  # allocates no memory
        net = GPT(config)
    parts = {
        "token embedding": net.wte,
        "position embedding": net.wpe,
        "blocks": net.blocks,
        "final norm": net.ln_f,
        "head": net.head,
    }
    counted: set[int] = set()  # ids, so that a tied head does not count the embedding again
    counts = {}
    for name, part in parts.items():
        new = [] if part is None else [p for p in part.parameters() if id(p) not in counted]
        counted.update(id(p) for p in new)
        counts[name] = sum(p.numel() for p in new)
    return counts
