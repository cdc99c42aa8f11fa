"""The size of a run: parameters, blocks and memory, computed from its configuration."""

from typing import Any

from minigpt.batches.blocks import count_blocks
from minigpt.model.config import GPTConfig
from minigpt.model.gpt import count_parameters
from minigpt.training.step_memory import StepSettings, estimate_memory


def plan(model: GPTConfig, n_tokens: int, stride: int, step: StepSettings) -> dict[str, Any]:
    """The counts that follow from a network's shape, a corpus's size and the settings of a step."""
    parts = count_parameters(model)
    blocks = count_blocks(n_tokens, model.block_size, stride)
    return {
        "parameters": sum(parts.values()),
        "parameters_by_part": parts,
        "vocab_size": model.vocab_size,
        "tokens": n_tokens,
        "blocks": blocks,
        "memory_bytes": estimate_memory(model, step),
    }
