"""The GPT network, and its counts of parameters and operations.

Shapes: B batch, T tokens, C channels (n_embd), V vocabulary.
"""

import math
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from minigpt.model.attention import KeyValueCache, Places
from minigpt.model.bigrams import BigramEmbedding
from minigpt.model.block import Block
from minigpt.model.config import GPTConfig as GPTConfig  # re-exported: the two go together
from minigpt.model.dropout import Dropout
from minigpt.model.norms import make_norm, rms_normalised
from minigpt.model.positions import position_embedding
from minigpt.model.rotary import rotation_at
from minigpt.model.softcap import soft_capped


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
        self.bigrams = (
            BigramEmbedding(c.bigram_embeddings, c.vocab_size, c.n_embd)
            if c.bigram_embeddings
            else None
        )
        self.dropout = Dropout(c.embd_dropout)
        self.blocks = nn.ModuleList(Block(c) for _ in range(c.n_layer))
        self.ln_f = make_norm(c.norm, c.n_embd, c.bias)
        self.output_multiplier = c.scaling.output_multiplier
        self.head = nn.Linear(c.n_embd, c.vocab_size, bias=c.head_bias)
        if c.init == "gpt2":
            self._init_gpt2()
        self._init_zeros()
        if c.tie_weights:
            self.head.weight = self.wte.weight

    def _init_gpt2(self) -> None:
        # The residual stream is the sum of 2 * n_layer branches. Scaling their last projections
        # by 1 / sqrt(2 * n_layer) keeps its variance independent of depth.
        residual_scale = math.sqrt(2 * self.config.n_layer)
        scaling = self.config.scaling
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                std = scaling.init_std("matrices" if name.startswith("blocks.") else "tables")
                residual = name.endswith(".proj")
                nn.init.normal_(module.weight, std=std / residual_scale if residual else std)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def _init_zeros(self) -> None:
        zeroed: list[nn.Module] = [self.bigrams.table] if self.bigrams is not None else []
        if self.config.zero_init:
            # Every block then passes on its input, and every token is equally likely.
            for block in self.blocks:
                assert isinstance(block, Block)
                zeroed += [block.attn.proj, block.mlp.proj]
            zeroed.append(self.head)
        for module in zeroed:
            for parameter in module.parameters():
                nn.init.zeros_(parameter)

    def hidden(
        self,
        tokens: Int[Tensor, "B T"],
        caches: list[KeyValueCache] | None = None,
        places: Places | None = None,
        before: Int[Tensor, "B 1"] | None = None,
    ) -> Float[Tensor, "B T C"]:
        """(B, T) token ids -> (B, T, C) what the head reads; T at most block_size.

        With caches, one per block, the tokens continue the cached ones and are appended to them.
        places: where, if the rows of the caches differ in length; T is 1 then.
        before: the last token of each row of the caches, which bigram embeddings need; vocab_size
        where a row is empty.
        """
        start = caches[0].length if caches else 0
        if places is not None:
            positions = places.positions  # (B, 1)
        else:
            positions = torch.arange(start, start + tokens.shape[1], device=tokens.device)  # (T)
        x = self.wte(tokens)  # (B, T, C)
        if self.wpe is not None:
            x = x + self.wpe(positions)  # (T, C), broadcast over the batch; (B, 1, C) with places
        if self.bigrams is not None:
            assert before is not None or (start == 0 and places is None)
            x = x + self.bigrams(tokens, before)
        x = self.dropout(x)
        c = self.config
        embedding = rms_normalised(x) if c.embedding_shortcuts else None
        is_rotary = c.positions == "rotary"
        rotation = rotation_at(positions, c.n_embd // c.n_head) if is_rotary else None
        for i, block in enumerate(self.blocks):
            # With caches the length changes at each call; forward itself is never compiled.
            if caches:
                x = block.forward(x, embedding, rotation, caches[i], places)
            else:
                x = block(x, embedding, rotation)
        x = self.ln_f(x)
        return x if self.output_multiplier == 1 else x * self.output_multiplier

    def empty_caches(self, sequences: int) -> list[KeyValueCache]:
        """One empty cache per block, with room for block_size positions."""
        c = self.config
        shape = sequences, c.n_head, c.block_size, c.n_embd // c.n_head
        return [KeyValueCache(shape, like=self.wte.weight) for _ in self.blocks]

    def forward(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """(B, T) token ids -> (B, T, V) logits of the token that follows each position."""
        return soft_capped(self.head(self.hidden(tokens)), self.config.logit_softcap)


@lru_cache  # a report may ask for hundreds of runs of the same shape
def training_flops_per_token(config: GPTConfig) -> int:
    """Floating-point operations per token of a forward and a backward pass, without dropout.

    Six per parameter of a matrix product (embeddings only look up), plus the two products inside
    attention (Kaplan et al., 2020; PaLM, Chowdhery et al., 2022, appendix B).
    """
    attention = 12 * config.n_layer * config.n_embd * config.block_size
    return 6 * matrix_parameters(config) + attention


@lru_cache
def matrix_parameters(config: GPTConfig) -> int:
    """Parameters that take part in matrix products: those of the blocks and of the head.

    A table of embeddings only looks up. A tied head multiplies, and so counts.
    """
    return count_parameters(config)["blocks"] + config.n_embd * config.vocab_size


def count_parameters(config: GPTConfig) -> dict[str, int]:
    """Number of parameters of each part; they sum to the total, as tied weights count once."""
    with torch.device("meta"):  # allocates no memory
        net = GPT(config)
    parts = {
        "token embedding": net.wte,
        "position embedding": net.wpe,
        **({} if net.bigrams is None else {"bigram embedding": net.bigrams}),
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
