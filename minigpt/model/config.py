"""The network's configuration: the keys of the `model` config group, checked."""

import math
from dataclasses import dataclass
from typing import ClassVar

from minigpt.errors import UserError, check_at_most, check_choice, check_positive, check_types
from minigpt.model.feed_forward import ACTIVATIONS, SWIGLU_MULTIPLE, hidden_units
from minigpt.model.norms import NORMS
from minigpt.model.parametrization import PARAMETRIZATIONS, Parametrization
from minigpt.model.positions import POSITIONS

INITS = ("gpt2", "torch")


# Beyond what any machine can train; a typing error should not hang.
LARGEST = {"n_layer": 1000, "n_embd": 1_000_000, "mlp_ratio": 1000, "block_size": 10_000_000,
           "vocab_size": 100_000_000, "bigram_embeddings": 1_000_000_000}  # fmt: skip


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
    mlp_ratio: int  # of hidden units of the feed-forward layer to n_embd; swiglu takes 2/3 of it
    block_size: int  # context length in tokens
    vocab_size: int
    dropout: float  # on attention weights and on both residual branches of a block
    embd_dropout: float  # on the sum of token and position embedding
    bias: bool  # in linear layers and layer norms, the head excepted
    head_bias: bool
    tie_weights: bool  # share one matrix between token embedding and head
    positions: str  # one of POSITIONS; with none the causal mask alone tells the order
    init: str  # gpt2: N(0, 0.02) with smaller residual projections; torch: each layer's default
    # Older checkpoints lack what follows; the defaults are what they computed.
    activation: str = "gelu_tanh"  # of the feed-forward layer: one of ACTIVATIONS
    norm: str = "layer"  # of hidden states: one of NORMS
    qk_norm: bool = False  # RMS norm of queries and keys, with gains
    zero_init: bool = False  # residual projections and head start at zero
    logit_softcap: float | None = None  # logits lie between minus and plus this number
    bigram_embeddings: int | None = None  # rows of a table for pairs of neighbouring tokens
    embedding_shortcuts: bool = False  # each block may read the embedding past the blocks before
    parametrization: str = "standard"  # or mup: how sizes and learning rates follow from n_embd
    base_width: int = 128  # the n_embd at which both are the same
    base_head_width: int | None = None  # the width of a head there; None: base_width / n_head

    def __post_init__(self) -> None:
        check_types("model", self)
        sizes = ("n_layer", "n_head", "n_embd", "mlp_ratio", "block_size", "vocab_size")
        check_positive("model", self, *sizes, "logit_softcap", "bigram_embeddings")
        check_positive("model", self, "base_width", "base_head_width")
        check_at_most("model", self, LARGEST)
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
        check_choice("model.norm", self.norm, NORMS)
        check_choice("model.parametrization", self.parametrization, PARAMETRIZATIONS)
        self._check_combinations()

    def _check_combinations(self) -> None:
        head_width = self.n_embd // self.n_head
        if self.positions == "rotary" and head_width % 2:
            raise UserError(
                f"model.positions=rotary turns pairs of channels, but model.n_embd={self.n_embd} "
                f"over model.n_head={self.n_head} gives heads of odd width {head_width}; "
                f"model.n_embd={self.n_head * (head_width + 1)} would do"
            )
        if hidden_units(self.activation, self.mlp_ratio, self.n_embd) == 0:
            raise UserError(
                f"model.activation=swiglu takes two thirds of model.mlp_ratio={self.mlp_ratio} "
                f"times model.n_embd={self.n_embd}, in multiples of {SWIGLU_MULTIPLE}, and there "
                f"is not one; make the product at least {3 * SWIGLU_MULTIPLE // 2}"
            )
        if self.tie_weights and self.init == "torch":
            raise UserError(
                "model.tie_weights=true needs model.init=gpt2: PyTorch's default embedding, "
                "N(0, 1), is far too large for a head"
            )
        if self.tie_weights and self.zero_init:
            raise UserError(
                "model.zero_init=true needs model.tie_weights=false: a head of zeros would make "
                "the token embedding zero as well"
            )
        if self.parametrization == "mup" and self.init == "torch":
            raise UserError(
                "model.parametrization=mup needs model.init=gpt2: PyTorch's default layers do not "
                "follow its table"
            )

    @property
    def scaling(self) -> Parametrization:
        """Initial sizes, learning rates and scales at this width."""
        return Parametrization(
            self.parametrization,
            width=self.n_embd,
            base_width=self.base_width,
            head_width=self.n_embd // self.n_head,
            base_head_width=self.base_head_width or self.base_width / self.n_head,
        )
