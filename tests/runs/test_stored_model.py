"""A checkpoint's network is read as it was stored, and what does not fit is named."""

import pytest
import torch

from minigpt.errors import UserError
from minigpt.runs.stored_model import find_separator, read_model
from minigpt.tokens.tokenizer import CharTokenizer, load_tokenizer
from tests.interop.checkpoints import CHARACTERS, write_checkpoint


def change(path, **changes):
    content = torch.load(path, weights_only=True)
    for place, value in changes.items():
        content["hyper_parameters"][place] = value
    torch.save(content, path)
    return content["hyper_parameters"]


@pytest.mark.parametrize("tied", [False, True])
def test_a_network_is_that_of_its_checkpoint(tmp_path, tied):
    path = tmp_path / "a.ckpt"
    net = write_checkpoint(path, tie_weights=tied)
    stored = read_model(path)
    tokens = torch.arange(12)[None]
    restored = stored.network()
    assert torch.equal(restored(tokens), net(tokens))
    assert (restored.head.weight is restored.wte.weight) is tied
    assert not restored.training
    assert (stored.step, stored.text, stored.separator) == (7, "f1e2", None)
    assert stored.tokenizer.fingerprint == CHARACTERS.fingerprint


def test_weights_keep_their_precision_and_the_network_has_float32(tmp_path):
    path = tmp_path / "a.ckpt"
    write_checkpoint(path)
    content = torch.load(path, weights_only=True)
    content["state_dict"] = {k: v.bfloat16() for k, v in content["state_dict"].items()}
    torch.save(content, path)
    stored = read_model(path)
    assert {w.dtype for w in stored.weights.values()} == {torch.bfloat16}
    assert {p.dtype for p in stored.network().parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"n_flower": 1}}, "names a model that this minigpt cannot build: unknown key "
                                     "model.n_flower"),
        ({"model": {"n_layer": 1}}, "names a model that this minigpt cannot build: model.n_head is "
                                    "missing"),
        ({"tokenizer": {}}, "names no tokenizer that can be read: tokenizer None: its name is "
                          "damaged or missing"),
        ({"tokenizer": {"name": "char"}}, "names no tokenizer that can be read: tokenizer char: "
                                          "its fingerprint is damaged or missing"),
    ],
)  # fmt: skip
def test_a_model_or_tokenizer_that_cannot_be_made_is_one_line(tmp_path, changes, message):
    path = tmp_path / "a.ckpt"
    write_checkpoint(path)
    change(path, **changes)
    with pytest.raises(UserError) as error:
        read_model(path)
    assert str(error.value).startswith(f"{path} {message}")


def test_weights_that_are_not_finite_are_named(tmp_path):
    path = tmp_path / "a.ckpt"
    write_checkpoint(path)
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["state_dict"]["net.wte.weight"][1, 1] = torch.nan
    torch.save(checkpoint, path)
    with pytest.raises(UserError, match="its weight wte.weight has numbers that are not finite$"):
        read_model(path)


def test_a_shape_too_large_for_memory_is_refused_before_it_is_allocated(tmp_path):
    path = tmp_path / "a.ckpt"
    write_checkpoint(path)
    shape = change(path)["model"]
    change(path, model={**shape, "vocab_size": 10**8, "n_embd": 10**6, "n_head": 1})  # 400 TB
    with pytest.raises(UserError, match="its weights do not fit the model it names: size mismatch"):
        read_model(path)


def test_the_separator_is_one_that_the_network_saw():
    gpt2 = load_tokenizer("gpt2")
    assert find_separator(gpt2, 50257, end_of_text=True) == 50256
    assert find_separator(gpt2, 50257, end_of_text=False) is None
    assert find_separator(gpt2, 50256, end_of_text=True) is None  # cut off the vocabulary
    assert find_separator(CharTokenizer("ab"), 2, end_of_text=True) is None


def test_a_run_without_separators_is_read_without_one(tmp_path):
    path = tmp_path / "a.ckpt"
    write_checkpoint(path, load_tokenizer("gpt2"), vocab_size=50257)
    assert read_model(path).separator == 50256  # an older checkpoint does not say
    change(path, data={"text": "f1e2", "end_of_text": False})
    assert read_model(path).separator is None
