"""model.onnx gives the network's logits for any batch and length."""

import sys

import onnxruntime
import pytest
import torch

from minigpt.interop import onnx_format
from minigpt.tokens.tokenizer import load_tokenizer
from tests.interop.checkpoints import write_checkpoint


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tie_weights": True},
        {"head_bias": True, "mlp_ratio": 3},
        {"bias": False, "positions": "none"},
        {"positions": "sinusoidal", "activation": "gelu"},
        {"parametrization": "mup", "base_width": 4},
        {"parametrization": "mup", "base_width": 64, "qk_norm": True, "norm": "rms"},
        {"positions": "rotary", "activation": "relu2", "norm": "rms"},
        {"activation": "swiglu", "qk_norm": True, "logit_softcap": 2, "tie_weights": True},
        {"bigram_embeddings": 20, "embedding_shortcuts": True, "positions": "none"},
        {"bigram_embeddings": 37 * 38, "positions": "rotary", "qk_norm": True, "zero_init": True},
    ],
    ids=str,
)
def test_onnxruntime_gives_the_same_logits_for_any_batch_and_length(
    type_minigpt, tmp_path, changes
):
    net = write_checkpoint(tmp_path / "a.ckpt", **changes)
    typed = type_minigpt("export", "a.ckpt", "out", "--format", "onnx")
    assert (typed.code, typed.err) == (0, "")
    session = onnxruntime.InferenceSession("out/model.onnx")
    for shape in ((1, 1), (3, 5), (2, 12)):
        tokens = torch.randint(37, shape)
        (logits,) = session.run(None, {"input_ids": tokens.numpy()})
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(logits), net(tokens), rtol=0, atol=1e-4)


def test_the_folder_holds_the_tokenizer_and_a_card(type_minigpt, tmp_path):
    write_checkpoint(tmp_path / "a.ckpt", load_tokenizer("gpt2"), vocab_size=300)
    type_minigpt("export", "a.ckpt", "out", "--format", "onnx")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "README.md", "model.onnx", "special_tokens_map.json", "tokenizer.json",
        "tokenizer_config.json",
    ]  # fmt: skip


def test_a_graph_that_computes_something_else_is_not_written(type_minigpt, tmp_path, monkeypatch):
    write_checkpoint(tmp_path / "a.ckpt")
    monkeypatch.setattr(onnx_format, "TOLERANCE", 0.0)
    with pytest.raises(RuntimeError, match="onnxruntime's logits differ by .*nothing was written"):
        type_minigpt("export", "a.ckpt", "out", "--format", "onnx")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("form", "module"), [("onnx", "onnxruntime"), ("gguf", "gguf")])
def test_a_missing_package_is_one_line(type_minigpt, tmp_path, monkeypatch, form, module):
    write_checkpoint(tmp_path / "a.ckpt")
    monkeypatch.setitem(sys.modules, module, None)
    typed = type_minigpt("export", "a.ckpt", "out", "--format", form)
    assert (typed.code, typed.err) == (
        2,
        f"error: --format {form} needs the package {module}: pip install 'minigpt[export]'\n",
    )
