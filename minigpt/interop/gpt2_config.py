"""A network's shape as GPT-2's config.json says it, both ways."""

from pathlib import Path
from typing import Any

from minigpt.errors import UserError
from minigpt.model.gpt import GPTConfig

# Ours -> theirs. The first is written; all are read, as they compute the same function.
ACTIVATIONS = {
    "gelu_tanh": ("gelu_new", "gelu_pytorch_tanh", "gelu_fast"),
    "gelu": ("gelu", "gelu_python"),
    "relu2": ("relu2",),
}
LAYER_NORM_EPSILON = 1e-5

# Keys of config.json that change the function, with the only value that our network computes.
FIXED = {
    "layer_norm_epsilon": LAYER_NORM_EPSILON,
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
    "quantization_config": None,
}
# What config.json leaves out.
DEFAULTS = {
    "vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12,
    "activation_function": "gelu_new", "resid_pdrop": 0.1, "embd_pdrop": 0.1,
    "tie_word_embeddings": True,
}  # fmt: skip


# Our key -> its values for which the network is a GPT-2; the first is the way out.
HELD = {
    "positions": ("learned", "sinusoidal", "none"),
    "activation": (*ACTIVATIONS,),
    "norm": ("layer",),
    "qk_norm": (False,),
    "logit_softcap": (None,),
    "bigram_embeddings": (None,),
    "embedding_shortcuts": (False,),
}


def check_gpt2_can_hold(config: GPTConfig) -> None:
    """Raises UserError for a part of our network that GPT-2's format has no place for."""
    for key, held in HELD.items():
        if (value := getattr(config, key)) not in held:
            raise UserError(
                f"model.{key}={_yaml(value)}: GPT-2's format has no place for it, and without it "
                f"the model would be another one; train with model.{key}={_yaml(held[0])}, or use "
                "--format onnx"
            )
    if config.head_bias:
        raise UserError(
            "model.head_bias=true: GPT-2's format has no bias in the head, and without it the "
            "model would be another one; train with model.head_bias=false, or use --format onnx"
        )


def to_gpt2_config(config: GPTConfig, separator: int | None, dtype: str) -> dict[str, Any]:
    """The content of config.json. separator: the id between documents; None without one."""
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": config.vocab_size,
        "n_positions": config.block_size,
        "n_ctx": config.block_size,
        "n_embd": config.n_embd,
        "n_layer": config.n_layer,
        "n_head": config.n_head,
        "n_inner": None if config.mlp_ratio == 4 else config.mlp_ratio * config.n_embd,
        "activation_function": ACTIVATIONS[config.activation][0],
        "resid_pdrop": config.dropout,
        "embd_pdrop": config.embd_dropout,
        "attn_pdrop": config.dropout,
        "layer_norm_epsilon": LAYER_NORM_EPSILON,
        "tie_word_embeddings": config.tie_weights,
        "bos_token_id": separator,
        "eos_token_id": separator,
        "dtype": dtype,
    }


def from_gpt2_config(content: dict[str, Any], path: Path) -> GPTConfig:
    """The shape that a config.json describes; `path` is for the messages.

    Our one dropout takes the value of resid_pdrop; attn_pdrop is not read.
    Raises UserError for another type of model, and for what our network does not compute.
    """
    if content.get("model_type") != "gpt2":
        raise UserError(
            f"{path}: model_type is {content.get('model_type')!r}, and only 'gpt2' can be read"
        )
    for key, value in FIXED.items():
        if content.get(key, value) != value:
            raise UserError(f"{path}: {key}={content[key]!r} is not supported, only {value!r}")
    values = {**DEFAULTS, **content}
    activation = values["activation_function"]
    ours = [name for name, theirs in ACTIVATIONS.items() if activation in theirs]
    if not ours:
        known = ", ".join(name for theirs in ACTIVATIONS.values() for name in theirs)
        raise UserError(f"{path}: activation_function={activation!r} is not one of {known}")
    try:
        return GPTConfig(
            n_layer=values["n_layer"],
            n_head=values["n_head"],
            n_embd=values["n_embd"],
            mlp_ratio=_mlp_ratio(values.get("n_inner"), values["n_embd"]),
            block_size=values["n_positions"],
            vocab_size=values["vocab_size"],
            dropout=values["resid_pdrop"],
            embd_dropout=values["embd_pdrop"],
            bias=True,
            head_bias=False,
            tie_weights=values["tie_word_embeddings"],
            positions="learned",
            init="gpt2",
            activation=ours[0],
        )
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _yaml(value: Any) -> str:
    """A value as one types it on the command line."""
    return "null" if value is None else str(value).lower()


def _mlp_ratio(n_inner: Any, n_embd: Any) -> int:
    if n_inner is None:
        return 4
    if (
        not isinstance(n_inner, int)
        or not isinstance(n_embd, int)
        or n_embd < 1
        or n_inner % n_embd
    ):
        raise UserError(f"n_inner={n_inner!r} is not a multiple of n_embd={n_embd!r}")
    return n_inner // n_embd
