"""The size of a run: parameters, blocks and memory, computed from its configuration."""

from typing import Any

from minigpt.batches.blocks import count_blocks
from minigpt.model.config import GPTConfig
from minigpt.model.feed_forward import hidden_units
from minigpt.model.gpt import count_parameters
from minigpt.model.loss import CHUNK_ROWS


def plan(
    model: GPTConfig, n_tokens: int, stride: int, batch_size: int, *, muon: bool, averaged: bool
) -> dict[str, Any]:
    """The counts that follow from a network's shape and a corpus's size alone.

    muon, averaged: see estimate_memory.
    """
    parts = count_parameters(model)
    blocks = count_blocks(n_tokens, model.block_size, stride)
    return {
        "parameters": sum(parts.values()),
        "parameters_by_part": parts,
        "vocab_size": model.vocab_size,
        "tokens": n_tokens,
        "blocks": blocks,
        "memory_bytes": estimate_memory(model, batch_size, muon=muon, averaged=averaged),
    }


def estimate_memory(
    model: GPTConfig, batch_size: int, *, muon: bool = False, averaged: bool = False
) -> int:
    """Peak bytes of a float32 training step, without those of Python itself.

    Counts weights, gradients and AdamW's two moments, of which Muon keeps one for the blocks; the
    average of the weights if there is one; the activations that each block saves
    (8 n_embd a token or more, hidden units and attention weights); the head's gradient and one
    chunk of logits, with the slopes of a softcap.
    """
    parts = count_parameters(model)
    parameters = sum(parts.values())
    numbers = (5 if averaged else 4) * parameters - (parts["blocks"] if muon else 0)
    tokens = batch_size * model.block_size
    # What autograd saves beyond the plain network, counted in n_embd a token.
    extras = 3 * (model.norm == "rms") + 5 * model.qk_norm + 2 * model.embedding_shortcuts
    units = hidden_units(model.activation, model.mlp_ratio, model.n_embd)
    feed_forward = units * (4 if model.activation == "swiglu" else 2)
    attention_weights = 2 * model.n_head * model.block_size
    per_block = (8 + extras) * model.n_embd + feed_forward + attention_weights
    activations = tokens * (model.n_layer * per_block + 4 * model.n_embd)
    chunk = min(tokens, CHUNK_ROWS // 2) * model.vocab_size
    if model.logit_softcap is not None:
        chunk *= 2
    return 4 * (numbers + activations + chunk + model.vocab_size * model.n_embd)
