"""Writes what `AutoModelForCausalLM.from_pretrained` and `AutoTokenizer` load."""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from minigpt.interop.gpt2_config import to_gpt2_config
from minigpt.interop.gpt2_folder import CONFIG, WEIGHTS
from minigpt.interop.gpt2_weights import to_gpt2_weights
from minigpt.interop.tokenizer_files import FILES, write_tokenizer
from minigpt.runs.stored_model import StoredModel

GENERATION = "generation_config.json"
NAMES = (CONFIG, GENERATION, WEIGHTS, *FILES)


def write_hugging_face(model: StoredModel, folder: Path) -> dict[str, Any]:
    """Write a GPT-2 folder. Raises UserError for what GPT-2's format cannot hold."""
    shape, end = model.shape, model.separator
    tensors = to_gpt2_weights(shape, model.weights)
    dtype = str(model.weights["wte.weight"].dtype).removeprefix("torch.")
    # Without max_length a pipeline would generate 256 tokens, past the end of a short context.
    generation = {"bos_token_id": end, "eos_token_id": end, "max_length": shape.block_size}
    for name, content in {
        CONFIG: to_gpt2_config(shape, end, dtype),
        GENERATION: generation,
    }.items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    has_tokenizer = write_tokenizer(model.tokenizer, shape.vocab_size, shape.block_size, folder)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    return {"tensors": len(tensors), "tokenizer_files": has_tokenizer}
