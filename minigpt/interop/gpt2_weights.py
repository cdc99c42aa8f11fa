"""A network's weights under GPT-2's names and in its layout, both ways.

Shapes: C channels (n_embd), T positions (block_size).
"""

import re
from dataclasses import replace

import torch
from torch import Tensor

from minigpt.errors import UserError
from minigpt.interop.gpt2_config import check_gpt2_can_hold
from minigpt.model.gpt import GPT, GPTConfig
from minigpt.model.positions import position_embedding
from minigpt.runs.stored_model import Weights

PREFIX = "transformer."  # of every name but the head's; GPT-2 as published has none
HEAD = "lm_head.weight"
MASK = re.compile(r"h\.\d+\.attn\.(masked_)?bias")  # older folders hold the causal mask


def to_gpt2_weights(config: GPTConfig, weights: Weights) -> Weights:
    """Our weights as GPT2LMHeadModel names them; a tied head is left out, as it does.

    Biases that the network lacks are zeros, and positions that it computes are a table.
    Raises UserError for a part that GPT-2 does not have.
    """
    check_gpt2_can_hold(config)
    theirs = {}
    for name, shape in _shapes(config).items():
        if name in weights:
            value = weights[name]
        elif name == "wpe.weight":
            value = position_table(config).to(weights["wte.weight"].dtype)
        elif name == "head.weight":
            continue  # tied, and the checkpoint names it once
        else:
            value = weights["wte.weight"].new_zeros(shape)
        if name != "head.weight" or not config.tie_weights:
            theirs[_their_name(name)] = (value.T if _is_transposed(name) else value).contiguous()
    return theirs


def from_gpt2_weights(config: GPTConfig, tensors: Weights, place: str) -> Weights:
    """GPT-2's tensors as our network names them; `place` is for the messages.

    Raises UserError for a tensor that is missing, not known, or of another shape or kind.
    """
    tensors = {name.removeprefix(PREFIX): value for name, value in tensors.items()}
    tensors = {name: value for name, value in tensors.items() if not MASK.fullmatch(name)}
    if config.tie_weights and "wte.weight" in tensors:
        embedding = tensors["wte.weight"]
        if not torch.equal(tensors.setdefault(HEAD, embedding), embedding):
            raise UserError(
                f"{place}: {HEAD} differs from wte.weight, but config.json says that they are one "
                "(tie_word_embeddings); set it to false there"
            )
    ours = {}
    for name, shape in _shapes(config).items():
        theirs = _their_name(name).removeprefix(PREFIX)
        value = tensors.pop(theirs, None)
        if value is None:
            raise UserError(f"{place}: the tensor {theirs} is missing")
        value = value.T if _is_transposed(name) and value.dim() == 2 else value
        if value.shape != shape or not value.is_floating_point():
            raise UserError(
                f"{place}: the tensor {theirs} is {value.dtype} of {tuple(value.shape)}; "
                f"config.json asks for floating-point numbers of {tuple(shape)}"
            )
        ours[name] = value.contiguous()
    if tensors:
        raise UserError(f"{place}: the tensor {next(iter(tensors))} is not part of a GPT-2")
    return ours


def position_table(config: GPTConfig) -> Tensor:
    """(T, C) what positions add to the embeddings where no parameter says it: waves, or zeros."""
    module = position_embedding(config.positions, config.block_size, config.n_embd)
    if module is None:
        return torch.zeros(config.block_size, config.n_embd)
    with torch.no_grad():
        return module(torch.arange(config.block_size))


def _shapes(config: GPTConfig) -> dict[str, torch.Size]:
    """Every weight of a network with all of GPT-2's parts, by our names, in GPT-2's order."""
    with torch.device("meta"):  # allocates no memory
        net = GPT(replace(config, bias=True, head_bias=False, positions="learned"))
    return {name: value.shape for name, value in net.state_dict().items()}


def _their_name(name: str) -> str:
    if name == "head.weight":
        return HEAD
    name = re.sub(r"^blocks\.", "h.", name)
    name = name.replace("attn.qkv", "attn.c_attn").replace("mlp.fc", "mlp.c_fc")
    return PREFIX + name.replace("proj", "c_proj")


def _is_transposed(name: str) -> bool:
    """True for the linear layers of a block, which GPT-2 stores as (in, out)."""
    return name.endswith(".weight") and (".attn." in name or ".mlp." in name)
