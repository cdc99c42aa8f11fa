"""The network as its papers write it: plain formulas in float64 for one sequence.

Shapes: T tokens, C channels, H heads, D = C / H, V vocabulary.
"""

import math

import torch


def logits_by_formula(net, tokens):
    """(T) ids -> (T, V) logits of a network in eval mode."""
    c = net.config
    w = {name: value.detach().double() for name, value in net.state_dict().items()}
    T, D = len(tokens), c.n_embd // c.n_head

    def linear(x, name):
        return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0.0)

    def norm(x, name):
        if c.norm == "rms":
            return _over_rms(x) * w[f"{name}.weight"]
        centred = x - x.mean(-1, keepdim=True)
        return _over_rms(centred) * w[f"{name}.weight"] + w.get(f"{name}.bias", 0.0)

    x = w["wte.weight"][tokens]
    if c.positions == "learned":
        x = x + w["wpe.weight"][:T]
    if c.bigram_embeddings:
        table = w["bigrams.table.weight"]
        pairs = zip([c.vocab_size, *tokens.tolist()[:-1]], tokens.tolist(), strict=True)
        x = x + torch.stack([table[(2_654_435_761 * a + b) % len(table)] for a, b in pairs])
    embedding = _over_rms(x)
    for i in range(c.n_layer):
        name = f"blocks.{i}"
        if c.embedding_shortcuts:
            stream, past = w[f"{name}.shortcut.shares"]
            x = stream * x + past * embedding
        qkv = linear(norm(x, f"{name}.ln_1"), f"{name}.attn.qkv")
        q, k, v = (part.view(T, c.n_head, D) for part in qkv.split(c.n_embd, -1))
        if c.qk_norm:
            q = _over_rms(q) * w[f"{name}.attn.qk_norm.query_gain"]
            k = _over_rms(k) * w[f"{name}.attn.qk_norm.key_gain"]
        if c.positions == "rotary":
            q, k = _turned(q), _turned(k)
        scores = torch.einsum("thd,shd->hts", q, k) / math.sqrt(D)
        later = torch.arange(T)[None] > torch.arange(T)[:, None]
        weights = scores.masked_fill(later, -math.inf).softmax(-1)
        mixed = torch.einsum("hts,shd->thd", weights, v).reshape(T, c.n_embd)
        x = x + linear(mixed, f"{name}.attn.proj")
        units = _activated(linear(norm(x, f"{name}.ln_2"), f"{name}.mlp.fc"), c.activation)
        x = x + linear(units, f"{name}.mlp.proj")
    logits = linear(norm(x, "ln_f"), "head")
    return (
        logits
        if c.logit_softcap is None
        else c.logit_softcap * torch.tanh(logits / c.logit_softcap)
    )


def _over_rms(x):
    return x / (x.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()


def _turned(x):
    """(T, H, D): each pair of channels is a complex number, multiplied by e^(i angle)."""
    T, _, D = x.shape
    pairs = torch.complex(x[..., 0::2], x[..., 1::2])
    frequencies = torch.tensor([10_000 ** (-2 * i / D) for i in range(D // 2)]).double()
    angles = torch.arange(T)[:, None, None] * frequencies
    turned = pairs * torch.exp(1j * angles)
    return torch.stack([turned.real, turned.imag], -1).flatten(-2)


def _activated(x, kind):
    if kind == "gelu_tanh":
        return x / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    if kind == "gelu":
        return x / 2 * (1 + torch.erf(x / math.sqrt(2)))
    if kind == "relu2":
        return x.clamp_min(0) ** 2
    gate, up = x[..., : x.shape[-1] // 2], x[..., x.shape[-1] // 2 :]
    return gate / (1 + torch.exp(-gate)) * up
