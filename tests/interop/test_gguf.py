"""model.gguf holds the checkpoint's tensors under llama.cpp's names, and what it cannot is said."""

import gguf
import numpy as np
import pytest

from minigpt.tokens.tokenizer import load_tokenizer
from tests.interop.checkpoints import write_checkpoint

GPT2 = load_tokenizer("gpt2")


@pytest.mark.parametrize("tied", [False, True])
def test_the_tensors_are_the_checkpoints(type_minigpt, tmp_path, tied):
    net = write_checkpoint(tmp_path / "a.ckpt", GPT2, vocab_size=300, tie_weights=tied)
    typed = type_minigpt("export", "a.ckpt", "out", "--format", "gguf")
    assert (typed.code, typed.err) == (0, "")
    stored = {t.name: t.data for t in gguf.GGUFReader(tmp_path / "out" / "model.gguf").tensors}
    expected = {
        "token_embd.weight": net.wte.weight,
        "position_embd.weight": net.wpe.weight,
        "output_norm.weight": net.ln_f.weight,
        "output_norm.bias": net.ln_f.bias,
    }
    if not tied:
        expected["output.weight"] = net.head.weight
    for i, block in enumerate(net.blocks):
        for name, module in {
            "attn_norm": block.ln_1, "attn_qkv": block.attn.qkv, "attn_output": block.attn.proj,
            "ffn_norm": block.ln_2, "ffn_up": block.mlp.fc, "ffn_down": block.mlp.proj,
        }.items():  # fmt: skip
            expected[f"blk.{i}.{name}.weight"] = module.weight
            expected[f"blk.{i}.{name}.bias"] = module.bias
    assert stored.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(stored[name], value.detach().numpy(), name)


@pytest.mark.parametrize("vocab_size", [50300, 300])
def test_the_vocabulary_and_the_shape_are_in_its_header(type_minigpt, tmp_path, vocab_size):
    write_checkpoint(tmp_path / "a.ckpt", GPT2, vocab_size=vocab_size)
    type_minigpt("export", "a.ckpt", "out", "--format", "gguf")
    fields = gguf.GGUFReader(tmp_path / "out" / "model.gguf").fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    assert len(tokens) == vocab_size
    assert tokens[:2] == ["!", '"']
    assert fields["tokenizer.ggml.merges"].contents()[:2] == ["Ġ t", "Ġ a"]
    assert ("tokenizer.ggml.eos_token_id" in fields) == (vocab_size > 50256)
    if vocab_size > 50256:
        assert tokens[50256] == "<|endoftext|>"
        assert fields["tokenizer.ggml.eos_token_id"].contents() == 50256
    numbers = {
        "context_length": 12, "embedding_length": 16, "feed_forward_length": 64, "block_count": 2,
        "attention.head_count": 2, "attention.layer_norm_epsilon": np.float32(1e-5),
    }  # fmt: skip
    for name, value in numbers.items():
        assert fields[f"gpt2.{name}"].contents() == value, name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mlp_ratio": 3}, "model.mlp_ratio=3: a GPT-2 in GGUF has 4; train with"),
        ({"activation": "gelu"}, "model.activation=gelu: a GPT-2 in GGUF has gelu_tanh"),
        ({"activation": "relu2"}, "model.activation=relu2: a GPT-2 in GGUF has gelu_tanh"),
        ({"vocab_size": 37}, "model.vocab_size=37: a GPT-2 in GGUF needs an id for each of the"),
        (
            {"tokenizer": None},
            "data.tokenizer=char: a GPT-2 in GGUF splits text as GPT-2 does; train with",
        ),
    ],
)
def test_what_gguf_cannot_hold_is_refused_by_key(type_minigpt, tmp_path, changes, message):
    tokenizer = {} if "tokenizer" in changes else {"tokenizer": GPT2, "vocab_size": 300, **changes}
    write_checkpoint(tmp_path / "a.ckpt", **tokenizer)
    typed = type_minigpt("export", "a.ckpt", "out", "--format", "gguf")
    assert typed.code == 2
    assert typed.err.startswith(f"error: {message}")
    assert "use --format hf" in typed.err
    assert not (tmp_path / "out").exists()
