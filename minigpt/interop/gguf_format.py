"""Writes model.gguf for llama.cpp, and reads its tensors back to compare them."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tiktoken_ext.openai_public import r50k_pat_str

from minigpt.errors import UserError
from minigpt.interop.gpt2_config import LAYER_NORM_EPSILON, check_gpt2_can_hold
from minigpt.interop.gpt2_weights import to_gpt2_weights
from minigpt.interop.tokenizer_files import to_tokenizers
from minigpt.interop.tokenizer_match import parts_of
from minigpt.runs.stored_model import StoredModel
from minigpt.tokens.byte_pairs import BytePairTokenizer
from minigpt.tokens.gpt2_table import END_OF_TEXT

MODEL = "model.gguf"
NAMES = (MODEL,)

BLOCK_PARTS = {
    "ln_1": "attn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down",
}  # fmt: skip
OTHER_PARTS = {
    "transformer.wte": "token_embd", "transformer.wpe": "position_embd",
    "transformer.ln_f": "output_norm", "lm_head": "output",
}  # fmt: skip


def write_gguf(model: StoredModel, folder: Path) -> dict[str, Any]:
    """Write model.gguf in float32.

    Raises UserError where the package is missing, or the format cannot hold the model.
    """
    try:
        import gguf
    except ModuleNotFoundError as error:
        raise UserError(
            f"--format gguf needs the package {error.name}: pip install 'minigpt[export]'"
        ) from None
    shape = model.shape
    _check(model)
    path = folder / MODEL
    writer = gguf.GGUFWriter(path, "gpt2")
    writer.add_name("minigpt")
    writer.add_context_length(shape.block_size)
    writer.add_embedding_length(shape.n_embd)
    writer.add_feed_forward_length(shape.mlp_ratio * shape.n_embd)
    writer.add_block_count(shape.n_layer)
    writer.add_head_count(shape.n_head)
    writer.add_layer_norm_eps(LAYER_NORM_EPSILON)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    _add_tokenizer(writer, model)
    tensors = gguf_tensors(model)
    for name, value in tensors.items():
        writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    stored = {tensor.name: tensor.data for tensor in gguf.GGUFReader(path).tensors}
    if stored.keys() != tensors.keys() or not all(
        np.array_equal(stored[name].reshape(value.shape), value) for name, value in tensors.items()
    ):
        raise RuntimeError(f"{MODEL} does not hold the checkpoint's tensors; nothing was written")
    return {"tensors": len(tensors)}


def _check(model: StoredModel) -> None:
    shape = model.shape
    check_gpt2_can_hold(shape)
    if shape.mlp_ratio != 4:
        raise UserError(
            f"model.mlp_ratio={shape.mlp_ratio}: a GPT-2 in GGUF has 4; train with "
            "model.mlp_ratio=4, or use --format hf"
        )
    if shape.activation != "gelu_tanh":
        raise UserError(
            f"model.activation={shape.activation}: a GPT-2 in GGUF has gelu_tanh; train with "
            "model.activation=gelu_tanh, or use --format hf"
        )
    tokenizer = model.tokenizer
    if not isinstance(tokenizer, BytePairTokenizer) or tokenizer.pattern != r50k_pat_str:
        raise UserError(
            f"data.tokenizer={tokenizer.name}: a GPT-2 in GGUF splits text as GPT-2 does; train "
            "with data.tokenizer=gpt2 or bpe-8192, or use --format hf"
        )


def _add_tokenizer(writer: Any, model: StoredModel) -> None:
    import gguf

    n_vocab = model.shape.vocab_size
    library = to_tokenizers(model.tokenizer, n_vocab)
    if library is None:
        raise UserError(
            f"model.vocab_size={n_vocab}: a GPT-2 in GGUF needs an id for each of the 256 bytes; "
            "use --format hf"
        )
    vocabulary, merges = parts_of(library)
    words = {i: word for word, i in vocabulary.items()}
    types = gguf.TokenType
    tokens, kinds = [], []
    for i in range(n_vocab):
        if i in words:
            tokens.append(words[i])
            kinds.append(types.NORMAL)
        elif i == model.separator:
            tokens.append(END_OF_TEXT)
            kinds.append(types.CONTROL)
        else:
            tokens.append(f"[PAD{i}]")
            kinds.append(types.UNUSED)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in merges])
    if model.separator is not None:
        writer.add_bos_token_id(model.separator)
        writer.add_eos_token_id(model.separator)
    writer.add_add_bos_token(False)


def gguf_tensors(model: StoredModel) -> dict[str, NDArray[np.float32]]:
    """The weights under GGUF's names; linear layers are stored as (out, in), as ours are."""
    tensors = {}
    for name, value in to_gpt2_weights(model.shape, model.weights).items():
        place, _, kind = name.rpartition(".")
        if place in OTHER_PARTS:
            gguf_name = f"{OTHER_PARTS[place]}.{kind}"
        else:
            _, _, block, part = place.split(".", 3)
            gguf_name = f"blk.{block}.{BLOCK_PARTS[part]}.{kind}"
            if value.dim() == 2:
                value = value.T
        tensors[gguf_name] = value.detach().float().contiguous().numpy()
    return tensors
