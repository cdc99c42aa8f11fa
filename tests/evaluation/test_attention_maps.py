"""Attention maps are the weights with which the network's own attention adds up values."""

import dataclasses

import numpy as np
import torch

from minigpt.evaluation.attention_maps import attention_maps, kept_attention
from minigpt.model.gpt import GPT, GPTConfig

SHAPE = GPTConfig(
    n_layer=2, n_head=3, n_embd=12, mlp_ratio=2, block_size=8, vocab_size=70, dropout=0.1,
    embd_dropout=0.1, bias=True, head_bias=False, tie_weights=False, positions="learned",
    init="torch",
)  # fmt: skip


def test_the_maps_weigh_the_values_as_the_layer_does():
    torch.manual_seed(1)
    net = GPT(SHAPE).eval()
    ids = np.array([3, 1, 4, 1, 5, 9])
    maps = attention_maps(net, ids)
    assert maps.shape == (2, 3, 6, 6)
    np.testing.assert_allclose(maps.sum(-1), 1, atol=1e-6)
    assert not np.triu(maps, 1).any()
    x = net.wte(torch.tensor(ids))[None] + net.wpe(torch.arange(6))
    for block, weights in zip(net.blocks, maps, strict=True):
        inputs = block.ln_1(x)
        values = block.attn.qkv(inputs)[0, :, 24:].view(6, 3, 4).transpose(0, 1)  # (H, T, D)
        mixed = torch.from_numpy(weights) @ values
        own = block.attn.proj(mixed.transpose(0, 1).reshape(1, 6, 12))
        torch.testing.assert_close(own, block.attn(inputs), atol=1e-5, rtol=1e-5)
        x = block(x)


def test_the_maps_know_turned_and_normalised_queries_and_keys():
    """Two blocks, of which the first is switched off; the second is computed by hand."""
    torch.manual_seed(1)
    shape = dataclasses.replace(SHAPE, positions="rotary", qk_norm=True)
    net = GPT(shape).eval()
    first, second = net.blocks
    with torch.no_grad():
        for layer in (first.attn.proj, first.mlp.proj):
            for p in layer.parameters():
                p.zero_()
        second.attn.qk_norm.query_gain.uniform_(1, 3)
        second.attn.qk_norm.key_gain.uniform_(1, 3)
    ids = torch.tensor([3, 1, 4, 1, 5, 9])
    maps = attention_maps(net, ids.numpy())
    q, k, _ = second.attn.qkv(second.ln_1(net.wte(ids))).view(6, 3, 3, 4).unbind(1)  # (T, H, D)
    turned = []
    for x, gain in ((q, second.attn.qk_norm.query_gain), (k, second.attn.qk_norm.key_gain)):
        x = x / (x.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * gain
        angles = torch.arange(6)[:, None, None] * torch.tensor([1, 0.01])  # 10,000^(-2i / 4)
        pairs = torch.complex(x[..., 0::2], x[..., 1::2]) * torch.exp(1j * angles)
        turned.append(torch.stack([pairs.real, pairs.imag], -1).flatten(-2))
    scores = torch.einsum("thd,shd->hts", *turned) / 2  # sqrt(4)
    future = torch.ones(6, 6, dtype=torch.bool).triu(1)
    expected = scores.masked_fill(future, -torch.inf).softmax(-1)
    np.testing.assert_allclose(maps[1], expected.detach().numpy(), atol=1e-5)


def test_looking_leaves_nothing_behind_in_the_network():
    net = GPT(SHAPE).eval()
    attention_maps(net, np.array([1, 2]))
    assert not any(module._forward_pre_hooks for module in net.modules())


def test_as_many_maps_are_kept_as_there_is_room_for(monkeypatch):
    """A map of 8 tokens has 2 blocks x 3 heads x 36 weights = 216."""
    texts = [np.arange(length) for length in (20, 3, 20, 20, 20, 20)]
    order = [4, 1, 0, 2, 3, 5]
    small, large = GPT(SHAPE).eval(), GPT(dataclasses.replace(SHAPE, n_layer=6)).eval()
    monkeypatch.setattr("minigpt.evaluation.attention_maps.KEPT_WEIGHTS", 4 * 216 + 215)
    (kept,) = kept_attention([small], texts, order)
    assert [(number, maps.shape) for number, maps in kept.items()] == [
        (4, (2, 3, 8, 8)), (1, (2, 3, 3, 3)), (0, (2, 3, 8, 8)), (2, (2, 3, 8, 8)),
    ]  # fmt: skip
    # Half of the room each, and of that a quarter at most for one map: 4 and 2 tokens.
    kept = kept_attention([small, large], texts, order)
    assert [[*maps] for maps in kept] == [order, order]
    assert [maps[4].shape for maps in kept] == [(2, 3, 4, 4), (6, 3, 2, 2)]
