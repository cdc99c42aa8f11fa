"""Text from a run, and the prompts and settings that are refused."""

import pytest
import torch

from minigpt.errors import UserError
from minigpt.evaluation.generation import generate_text
from minigpt.evaluation.trained_model import load_model
from minigpt.model.generate import Sampling, generate
from minigpt.model.gpt import GPT, GPTConfig
from minigpt.tokens.tokenizer import load_tokenizer
from tests.conftest import run_folders

SHAPE = GPTConfig(
    n_layer=1, n_head=2, n_embd=16, mlp_ratio=2, block_size=8, vocab_size=50257, dropout=0.0,
    embd_dropout=0.0, bias=True, head_bias=False, tie_weights=False, positions="learned",
    init="gpt2",
)  # fmt: skip


@pytest.fixture
def folder(tiny, type_train, tmp_path):
    assert type_train(*tiny, "trainer.max_epochs=1").code == 0
    (folder,) = run_folders(tmp_path)
    return folder


def test_a_run_folder_or_a_checkpoint_continues_a_prompt(folder, type_minigpt):
    arguments = ("--prompt", "the", "--max-new-tokens", "20", "--seed", "3")
    first = type_minigpt("generate", str(folder), *arguments)
    assert (first.code, first.err) == (0, "")
    assert first.out.startswith("the")
    assert len(first.out) == 3 + 20 + 1
    again = type_minigpt("generate", str(folder / "checkpoints" / "best.ckpt"), *arguments)
    assert again.out == first.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prompt", ""], "the prompt is empty"),
        (["--prompt", "the tide comes"], "the prompt has 14 tokens, the model reads 8"),
        (["--prompt", "ß"], "the character 'ß' is not among"),
        (["--prompt", "a", "--temperature", "0"], "temperature must lie in [0.001, 1000], got 0.0"),
        (["--prompt", "a", "--temperature", "hot"], "argument --temperature: invalid float value"),
        ([], "one of the arguments --prompt --from-start is required"),
        (["--prompt", "a", "--seed", "9" * 30], "seed must be a whole number"),
        (["--from-start"], "tokenizer char has no id that separates documents"),
        (["--prompt", "a", "--from-start"], "argument --from-start: not allowed with argument"),
        (["--prompt", "a", "--top-k", "0"], "top_k must be at least 1, got 0"),
        (["--prompt", "a", "--top-p", "2"], "top_p must lie in (0, 1], got 2.0"),
        (["--prompt", "a", "--max-new-tokens", "0"], "max_new_tokens must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_sampled_is_one_line(folder, type_minigpt, arguments, message):
    typed = type_minigpt("generate", str(folder), *arguments)
    assert typed.code == 2
    assert typed.err.startswith(f"error: {message}")
    assert typed.err.count("\n") == 1


def test_a_checkpoint_whose_weights_are_of_another_shape_is_refused(folder):
    path = folder / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["hyper_parameters"]["model"]["n_embd"] = 32
    torch.save(checkpoint, path)
    with pytest.raises(UserError, match="best.ckpt: its weights do not fit the model it names"):
        load_model(folder)


def test_without_a_prompt_a_document_begins_at_its_start():
    net, tokenizer = GPT(SHAPE).eval(), load_tokenizer("gpt2")
    start = torch.tensor([[50256]])  # GPT-2's <|endoftext|>, which stands between documents
    ids = generate(net, start, 5, Sampling(greedy=True), 0)[0, 1:].tolist()
    text = generate_text(net, tokenizer, None, 5, Sampling(greedy=True), 0)
    assert text == tokenizer.decode(ids)
    assert len(tokenizer.encode("<|endoftext|>")) == 7  # as a prompt it is ordinary text
