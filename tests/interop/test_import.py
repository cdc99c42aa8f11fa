"""A GPT-2 folder becomes a checkpoint bit for bit, or one line says why it cannot."""

import json
import pickle
import shutil

import pytest
import torch
from transformers import AutoTokenizer

from minigpt.evaluation.trained_model import load_model
from minigpt.tokens.tokenizer import load_tokenizer
from tests.interop.checkpoints import hashes, save_gpt2, write_checkpoint


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tie_word_embeddings": False},
        {"n_inner": 32},
        {"activation_function": "gelu"},
        {"activation_function": "relu2"},
        {"dtype": torch.bfloat16},
        {"shard": "5KB"},
    ],
    ids=str,
)
def test_import_then_export_gives_equal_hashes_of_all_tensors(type_minigpt, tmp_path, changes):
    theirs = save_gpt2(tmp_path / "gpt2", **changes)
    if "shard" in changes:
        assert (tmp_path / "gpt2" / "model.safetensors.index.json").exists()
    assert type_minigpt("import", "gpt2", "run").code == 0
    assert type_minigpt("export", "run", "again").code == 0
    assert hashes(tmp_path / "again") == hashes(tmp_path / "gpt2")
    before, after = (
        json.loads((tmp_path / name / "config.json").read_text()) for name in ("gpt2", "again")
    )
    assert {key: after[key] for key in after if key in before} == {
        key: before[key] for key in after if key in before
    }
    tokens = torch.randint(37, (2, 12))
    with torch.no_grad():
        ours = load_model(tmp_path / "run").net(tokens)
        difference = (ours - theirs.float()(tokens).logits).abs().max()
    assert difference <= 1e-5


def test_names_and_masks_of_older_folders_are_read(type_minigpt, tmp_path):
    from safetensors.torch import load_file, save_file

    save_gpt2(tmp_path / "gpt2")
    path = tmp_path / "gpt2" / "model.safetensors"
    older = {name.removeprefix("transformer."): value for name, value in load_file(path).items()}
    older |= {f"h.{i}.attn.bias": torch.ones(1, 1, 12, 12).tril() for i in range(2)}
    older["h.0.attn.masked_bias"] = torch.tensor(-1e4)
    expected = hashes(tmp_path / "gpt2")
    save_file(older, path)
    assert type_minigpt("import", "gpt2", "run").code == 0
    type_minigpt("export", "run", "again")
    assert hashes(tmp_path / "again") == expected


def test_without_a_name_an_import_lies_in_outputs_and_writes_text(type_minigpt, tmp_path):
    save_gpt2(tmp_path / "gpt2", vocab_size=50257)
    typed = type_minigpt("import", "gpt2")
    assert typed.code == 0
    assert typed.err == "gpt2 has no tokenizer; taking GPT-2's\n"
    assert typed.out.endswith("minigpt generate outputs/imported/gpt2 --prompt TEXT\n")
    text = type_minigpt("generate", "outputs/imported/gpt2", "--prompt", "Hello", "--greedy",
                        "--max-new-tokens", "3")  # fmt: skip
    assert text.out.startswith("Hello")
    again = type_minigpt("import", "gpt2")
    assert (again.code, again.err) == (
        2,
        "error: outputs/imported/gpt2 exists already; name another folder\n",
    )


@pytest.mark.parametrize("vocab_size", [49805, 400])
def test_our_own_exports_come_back_with_their_tokenizer(type_minigpt, tmp_path, vocab_size):
    write_checkpoint(tmp_path / "a.ckpt", load_tokenizer("gpt2"), vocab_size=vocab_size)
    type_minigpt("export", "a.ckpt", "out")
    typed = type_minigpt("import", "out", "run", "--json")
    assert typed.err == ""
    assert json.loads(typed.out)["tokenizer"] == "gpt2"
    assert json.loads(typed.out)["vocab_size"] == vocab_size
    type_minigpt("export", "run", "again")
    for name in ("tokenizer.json", "model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_characters_come_back_with_their_alphabet(type_minigpt, tmp_path):
    write_checkpoint(tmp_path / "a.ckpt")
    type_minigpt("export", "a.ckpt", "out")
    assert type_minigpt("import", "out", "run").code == 0
    arguments = ("--prompt", "tide", "--max-new-tokens", "8", "--seed", "3")
    ours = type_minigpt("generate", "a.ckpt", *arguments)
    assert type_minigpt("generate", "run", *arguments).out == ours.out


def test_a_tokenizer_that_transformers_saved_is_recognised(type_minigpt, tmp_path):
    save_gpt2(tmp_path / "gpt2", vocab_size=50260)
    write_checkpoint(tmp_path / "a.ckpt", load_tokenizer("gpt2"), vocab_size=50257)
    type_minigpt("export", "a.ckpt", "out")
    theirs = AutoTokenizer.from_pretrained("out")
    theirs.add_special_tokens({"pad_token": "[PAD]"})
    theirs.save_pretrained(tmp_path / "gpt2")
    typed = type_minigpt("import", "gpt2", "run", "--json")
    assert (typed.err, json.loads(typed.out)["tokenizer"]) == ("", "gpt2")
    # Older folders hold its two tables instead.
    content = json.loads((tmp_path / "gpt2" / "tokenizer.json").read_text("utf-8"))
    (tmp_path / "gpt2" / "tokenizer.json").unlink()
    model = content["model"]
    (tmp_path / "gpt2" / "vocab.json").write_text(json.dumps(model["vocab"]), "utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in model["merges"])]
    (tmp_path / "gpt2" / "merges.txt").write_text("\n".join(lines) + "\n", "utf-8")
    typed = type_minigpt("import", "gpt2", "older", "--json")
    assert (typed.err, json.loads(typed.out)["tokenizer"]) == ("", "gpt2")


class Harmful:
    def __reduce__(self):
        return (print, ("executed",))


def without_config(folder):
    (folder / "config.json").unlink()
    return "gpt2 has no config.json, so it does not hold a model"


def another_type(folder):
    _change_config(folder, model_type="llama")
    return "gpt2/config.json: model_type is 'llama', and only 'gpt2' can be read"


def pickled(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Harmful()))
    return "gpt2 has no model.safetensors; its pytorch_model.bin is a pickle"


def truncated(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    return "gpt2/model.safetensors cannot be read ("


def another_shape(folder):
    _change_config(folder, n_embd=32)
    return "gpt2: the tensor wte.weight is torch.float32 of (37, 16); config.json asks for"


def more_layers(folder):
    _change_config(folder, n_layer=3)
    return "gpt2: the tensor h.2.ln_1.weight is missing"


def fewer_layers(folder):
    _change_config(folder, n_layer=1)
    return "gpt2: the tensor h.1."


def another_norm(folder):
    _change_config(folder, layer_norm_epsilon=1e-6)
    return "gpt2/config.json: layer_norm_epsilon=1e-06 is not supported, only 1e-05"


def another_activation(folder):
    _change_config(folder, activation_function="relu")
    return "gpt2/config.json: activation_function='relu' is not one of gelu_new, "


def odd_width(folder):
    _change_config(folder, n_inner=20)
    return "gpt2/config.json: n_inner=20 is not a multiple of n_embd=16"


def a_word_for_a_number(folder):
    _change_config(folder, n_layer="two")
    return "gpt2/config.json: model.n_layer must be int, got 'two'"


def broken_config(folder):
    (folder / "config.json").write_text("{")
    return "gpt2/config.json cannot be read (JSONDecodeError); it is damaged"


def a_shard_elsewhere(folder):
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"wte.weight": "../secret.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return "gpt2/model.safetensors.index.json names ../secret.safetensors, which is not in"


def tokenizer_with_more_ids(folder):
    _add_tokenizer(folder, vocab_size=300)
    return "gpt2/tokenizer.json: the tokenizer has the id 299, and the model knows 37 tokens only"


def another_tokenizer(folder):
    words = {"type": "WordLevel", "vocab": {"tide": 0, "boat": 1}, "unk_token": "tide"}
    content = {"version": "1.0", "added_tokens": [], "model": words}
    (folder / "tokenizer.json").write_text(json.dumps(content))
    return "gpt2/tokenizer.json: this tokenizer is neither GPT-2's nor one of single characters"


def broken_tokenizer(folder):
    (folder / "tokenizer.json").write_text('{"model": 3}')
    return "gpt2/tokenizer.json: the tokenizer cannot be read ("


def no_folder(folder):
    shutil.rmtree(folder)
    return "no such folder: gpt2; nothing is downloaded, so name one on this disk"


def _change_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _add_tokenizer(folder, vocab_size):
    from minigpt.interop.tokenizer_files import write_tokenizer

    write_tokenizer(load_tokenizer("gpt2"), vocab_size, 12, folder)


@pytest.mark.parametrize(
    "spoil",
    [
        without_config, another_type, pickled, truncated, another_shape, more_layers, fewer_layers,
        another_norm, another_activation, odd_width, a_word_for_a_number, broken_config,
        a_shard_elsewhere, tokenizer_with_more_ids, another_tokenizer, broken_tokenizer, no_folder,
    ],
)  # fmt: skip
def test_what_is_not_a_whole_gpt2_is_refused_in_one_line(type_minigpt, tmp_path, spoil):
    save_gpt2(tmp_path / "gpt2")
    message = spoil(tmp_path / "gpt2")
    typed = type_minigpt("import", "gpt2", "run")
    assert typed.code == 2
    assert typed.out == ""
    assert typed.err.startswith(f"error: {message}")
    assert typed.err.count("\n") == 1
    assert not (tmp_path / "run").exists()
