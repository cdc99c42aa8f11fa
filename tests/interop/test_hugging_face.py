"""An exported folder is the same function for `transformers`, without code of ours."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

from minigpt.config import build, compose_config
from minigpt.model.generate import Sampling, generate
from minigpt.model.gpt import GPTConfig
from minigpt.tokens.tokenizer import CharTokenizer, load_tokenizer
from tests.interop.checkpoints import CHARACTERS, write_checkpoint


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tie_weights": True},
        {"bias": False},
        {"positions": "sinusoidal"},
        {"positions": "none", "bias": False, "tie_weights": True},
        {"mlp_ratio": 3},
        {"activation": "gelu"},
        {"parametrization": "mup", "base_width": 4},
        {"parametrization": "mup", "base_width": 64, "tie_weights": True},
        {"activation": "relu2", "zero_init": True},
    ],
    ids=str,
)
def test_transformers_computes_the_same_logits(type_minigpt, tmp_path, changes):
    net = write_checkpoint(tmp_path / "a.ckpt", **changes)
    typed = type_minigpt("export", "a.ckpt", "out")
    assert (typed.code, typed.err) == (0, "")
    theirs = AutoModelForCausalLM.from_pretrained("out")
    tokens = torch.randint(37, (3, 12))
    with torch.no_grad():
        difference = (theirs(tokens).logits - net(tokens)).abs().max()
    assert difference <= 1e-5
    assert theirs.dtype == torch.float32


@pytest.mark.parametrize("preset", ["base", "wide"])
def test_presets_give_the_same_logits_and_100_greedy_tokens(type_minigpt, tmp_path, preset):
    shape = build(GPTConfig, "model", compose_config([f"model={preset}"]).model)
    net = write_checkpoint(tmp_path / "a.ckpt", load_tokenizer("gpt2"), **vars(shape))
    type_minigpt("export", "a.ckpt", "out")
    theirs = AutoModelForCausalLM.from_pretrained("out")
    tokens = torch.randint(shape.vocab_size, (1, 28))
    with torch.no_grad():
        torch.testing.assert_close(theirs(tokens).logits, net(tokens), rtol=0, atol=1e-5)
        ours = generate(net, tokens, 100, Sampling(greedy=True), 0)
        continued = theirs.generate(tokens, max_new_tokens=100, do_sample=False, eos_token_id=None)
    assert torch.equal(ours, continued)


TEXTS = [
    "Hello world, it's 12345 o'clock!",
    "  spaces  \n\n\tand lines \n",
    "naïve — 日本語 \U0001f600",
    "<|endofte",
]


@pytest.mark.parametrize("vocab_size", [60000, 49805, 300])
def test_autotokenizer_gives_gpt2s_ids(type_minigpt, tmp_path, vocab_size):
    gpt2 = load_tokenizer("gpt2")
    write_checkpoint(tmp_path / "a.ckpt", gpt2, vocab_size=vocab_size)
    assert type_minigpt("export", "a.ckpt", "out").code == 0
    theirs = AutoTokenizer.from_pretrained("out")
    assert theirs.model_max_length == 12
    for text in TEXTS:
        ids = theirs(text)["input_ids"]
        assert max(ids) < vocab_size
        assert theirs.decode(ids) == text
        if vocab_size > 300:  # none of these texts needs a later id
            assert ids == gpt2.encode(text)
    assert set(theirs("a")) == {"input_ids", "attention_mask"}  # GPT-2 would embed token types
    end = "<|endoftext|>" if vocab_size > 50256 else None
    assert (theirs.eos_token, theirs.bos_token) == (end, end)
    assert len(theirs) == min(vocab_size, 50257)


def test_autotokenizer_gives_the_ids_of_characters_and_the_text_back(type_minigpt, tmp_path):
    write_checkpoint(tmp_path / "a.ckpt")
    type_minigpt("export", "a.ckpt", "out")
    theirs = AutoTokenizer.from_pretrained("out")
    for text in (CHARACTERS.alphabet, "the tide ,  comes.\n\nin !\t日😀é", " "):
        assert theirs(text)["input_ids"] == CHARACTERS.encode(text)
        assert theirs.decode(CHARACTERS.encode(text)) == text


def test_a_pipeline_writes_what_we_write(type_minigpt, tmp_path):
    write_checkpoint(tmp_path / "a.ckpt")
    type_minigpt("export", "a.ckpt", "out")
    text = type_minigpt("generate", "a.ckpt", "--prompt", "tide", "--greedy",
                        "--max-new-tokens", "8").out  # fmt: skip
    writer = pipeline("text-generation", model="out")
    assert writer("tide", do_sample=False)[0]["generated_text"] + "\n" == text


def test_a_pipeline_stops_at_the_end_of_the_context(type_minigpt, tmp_path):
    write_checkpoint(tmp_path / "a.ckpt", load_tokenizer("gpt2"), vocab_size=49805)
    type_minigpt("export", "a.ckpt", "out")
    writer = pipeline("text-generation", model="out")
    text = writer("tide", do_sample=False, return_full_text=False)[0]["generated_text"]
    assert text


def test_a_head_bias_is_refused_by_key_and_nothing_is_written(type_minigpt, tmp_path):
    write_checkpoint(tmp_path / "a.ckpt", head_bias=True)
    for form in ("hf", "gguf"):
        typed = type_minigpt("export", "a.ckpt", "out", "--format", form)
        assert typed.code == 2
        assert typed.err == (
            "error: model.head_bias=true: GPT-2's format has no bias in the head, and without it "
            "the model would be another one; train with model.head_bias=false, or use "
            "--format onnx\n"
        )
    assert [path.name for path in tmp_path.iterdir()] == ["a.ckpt"]


@pytest.mark.parametrize(
    ("key", "value", "typed_value", "way_out"),
    [
        ("positions", "rotary", "rotary", "learned"),
        ("activation", "swiglu", "swiglu", "gelu_tanh"),
        ("norm", "rms", "rms", "layer"),
        ("qk_norm", True, "true", "false"),
        ("logit_softcap", 15.0, "15.0", "null"),
        ("bigram_embeddings", 20, "20", "null"),
        ("embedding_shortcuts", True, "true", "false"),
    ],
)
def test_a_part_that_gpt2_lacks_is_refused_by_key_and_nothing_is_written(
    type_minigpt, tmp_path, key, value, typed_value, way_out
):
    write_checkpoint(tmp_path / "a.ckpt", **{key: value})
    for form in ("hf", "gguf"):
        typed = type_minigpt("export", "a.ckpt", "out", "--format", form)
        assert typed.code == 2
        assert typed.err == (
            f"error: model.{key}={typed_value}: GPT-2's format has no place for it, and without "
            f"it the model would be another one; train with model.{key}={way_out}, or use "
            "--format onnx\n"
        )
    assert [path.name for path in tmp_path.iterdir()] == ["a.ckpt"]


def test_a_vocabulary_without_all_bytes_gets_no_tokenizer(type_minigpt, tmp_path):
    write_checkpoint(tmp_path / "a.ckpt", load_tokenizer("gpt2"))
    typed = type_minigpt("export", "a.ckpt", "out")
    assert "no tokenizer files: the vocabulary is narrower than the 256 bytes" in typed.out
    assert not (tmp_path / "out" / "tokenizer.json").exists()


def test_json_names_the_files_and_their_sizes(type_minigpt, tmp_path):
    write_checkpoint(tmp_path / "a.ckpt", CharTokenizer("ab"))
    exported = json.loads(type_minigpt("export", "a.ckpt", "out", "--json").out)
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "out").iterdir()}
    assert exported["files"] == sizes
    assert exported["format"] == "hf"
    assert (exported["vocab_size"], exported["figures"]["tensors"]) == (37, 2 + 24 + 2 + 1)
