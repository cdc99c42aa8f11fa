"""The experiments that are timed, and networks of other libraries at the same shape."""

from typing import Any

# Each as a user would run it, on the shipped sample.
EXPERIMENTS = {
    "mini": ["experiment=memorize"],
    "base": ["experiment=baseline", "data=sample", "data.batch_size=32", "data.stride=1"],
    "wide": ["experiment=wider", "data=sample", "data.batch_size=16", "data.stride=1"],
}


def transformers_gpt2(c: Any, **options: Any) -> Any:
    """GPT2LMHeadModel with the shape of a GPTConfig; options go to GPT2Config."""
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=c.vocab_size, n_positions=c.block_size, n_embd=c.n_embd, n_layer=c.n_layer,
            n_head=c.n_head, tie_word_embeddings=c.tie_weights, bos_token_id=None,
            eos_token_id=None, **options,
        )
    )  # fmt: skip


def litgpt_gpt(c: Any) -> Any:
    """litgpt's GPT with the shape of a GPTConfig: GPT-NeoX's blocks, in sequence as in GPT-2.

    It has no dropout, and rotary positions instead of learned ones. It pads its vocabulary, here
    to a multiple of 64, which makes its products faster.
    """
    from litgpt import GPT, Config

    return GPT(
        Config(
            vocab_size=c.vocab_size, padding_multiple=64, block_size=c.block_size,
            n_embd=c.n_embd, n_layer=c.n_layer, n_head=c.n_head,
            intermediate_size=c.mlp_ratio * c.n_embd, gelu_approximate="tanh",
            parallel_residual=False, bias=c.bias, attn_bias=c.bias, lm_head_bias=c.head_bias,
        )
    )  # fmt: skip


def transformers_weights(state: dict[str, Any]) -> dict[str, Any]:
    """A GPT's state_dict under the names and in the layout of GPT2LMHeadModel."""
    names = {"wte": "wte", "wpe": "wpe", "ln_f": "ln_f"}
    weights = {}
    for key, value in state.items():
        first, _, rest = key.partition(".")
        if first == "blocks":
            i, _, rest = rest.partition(".")
            is_linear = rest.startswith(("attn.", "mlp."))
            rest = rest.replace("attn.qkv", "attn.c_attn").replace("mlp.fc", "mlp.c_fc")
            rest = rest.replace("proj", "c_proj")
            # Their linear layers store (in, out).
            transposed = is_linear and value.dim() == 2
            weights[f"transformer.h.{i}.{rest}"] = value.T if transposed else value
        elif key == "head.weight":
            weights["lm_head.weight"] = value
        elif first != "head":  # their head has no bias
            weights[f"transformer.{names[first]}.{rest}"] = value
    return weights
