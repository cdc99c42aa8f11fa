"""Tokens -> which earlier tokens each head of a network attends to.

Shapes: T tokens, C channels (n_embd), L blocks, H heads, D = C / H.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from minigpt.model.attention import CausalSelfAttention
from minigpt.model.config import GPTConfig
from minigpt.model.gpt import GPT
from minigpt.model.rotary import Rotation

KEPT_WEIGHTS = 1_000_000  # in all
KEPT_TOKENS = 128  # of a text, at most


@torch.inference_mode()
def attention_maps(net: GPT, ids: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
    """(T) ids -> (L, H, T, T): the share of head h's attention from each position to each other.

    T is at most block_size, the network in eval mode. The fused attention keeps no weights, so
    they are computed again from what each attention layer reads.
    """
    assert not net.training
    maps: list[Tensor] = []

    def keep(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        assert isinstance(layer, CausalSelfAttention)
        x, rotation, *_ = inputs
        maps.append(attention_weights(layer, x, rotation)[0])

    layers = [module for module in net.modules() if isinstance(module, CausalSelfAttention)]
    hooks = [layer.register_forward_pre_hook(keep) for layer in layers]
    try:
        net.hidden(torch.from_numpy(ids.astype(np.int64)).to(net.head.weight.device)[None])
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(maps).float().cpu().numpy()


def attention_weights(
    layer: CausalSelfAttention, x: Float[Tensor, "B T C"], rotation: Rotation | None
) -> Float[Tensor, "B H T T"]:
    """The weights with which a layer adds up its values: softmax of scaled q k, causal."""
    q, k, _ = layer.queries_keys_values(x, rotation)  # (B, H, T, D) each
    T = x.shape[1]
    future = torch.ones(T, T, dtype=torch.bool, device=x.device).triu(1)
    scores = (q / layer.score_divisor) @ k.transpose(-2, -1)  # (B, H, T, T)
    return scores.masked_fill(future, -math.inf).softmax(-1)


def kept_attention(
    nets: Sequence[GPT], texts: Sequence[NDArray[np.integer[Any]]], order: Sequence[int]
) -> list[dict[int, NDArray[np.float32]]]:
    """For each network the maps of the same texts, by number: the first of an order.

    As many as KEPT_WEIGHTS allows, and of each the first tokens.
    """
    share = KEPT_WEIGHTS // len(nets)
    lengths = [_kept_tokens(net.config, share) for net in nets]
    counts = [share // _weights(net.config, T) for net, T in zip(nets, lengths, strict=True)]
    kept = order[: min(counts)]
    return [
        {number: attention_maps(net, texts[number][:T]) for number in kept}
        for net, T in zip(nets, lengths, strict=True)
    ]


def _kept_tokens(config: GPTConfig, share: int) -> int:
    """T, so small that the maps of several texts can be kept."""
    T = min(config.block_size, KEPT_TOKENS)
    while T > 1 and _weights(config, T) > share // 4:
        T //= 2
    return T


def _weights(config: GPTConfig, T: int) -> int:  # noqa: N803
    """Weights of a text's maps that are not zero."""
    return config.n_layer * config.n_head * T * (T + 1) // 2
