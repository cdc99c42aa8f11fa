"""`minigpt generate` as a user types it: prompts, streams, JSON, a conversation."""

import builtins
import io
import json
import sys

import pytest
import torch

from minigpt.commands.generate import print_in_order
from minigpt.errors import UserError
from minigpt.evaluation.generation import End, Piece, WrittenToken, generate
from minigpt.evaluation.trained_model import load_model
from tests.conftest import run_folders


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
    checkpoint = folder / "checkpoints" / "best.ckpt"
    assert type_minigpt("generate", str(checkpoint), *arguments).out == first.out
    other = type_minigpt("generate", str(folder), "--prompt", "a", *arguments[2:])
    both = type_minigpt("generate", str(folder), "--prompt", "a", *arguments)
    assert both.out == f"{other.out}\n{first.out}"

    found = json.loads(type_minigpt("generate", str(folder), *arguments, "--json").out)
    assert found["checkpoint"] == str(checkpoint)
    assert (found["seed"], found["sampling"]["top_k"]) == (3, None)
    (text,) = found["texts"]
    assert first.out == f"{text['prompt']}{text['text']}\n"
    assert text["end"] == "length"
    assert "".join(token["text"] for token in text["tokens"]) == text["text"]
    (same,) = generate(str(folder), ["the"], max_new_tokens=20, seed=3)
    assert [vars(token) for token in same.tokens] == text["tokens"]


REFUSED = {
    "prompt=": "the prompt is empty",
    "prompt=the tide comes": "the prompt has 14 tokens, the model reads 8",
    "prompt=ß": "the character 'ß' is not among",
    "temperature=0": "temperature must lie in [0.001, 1000], got 0.0",
    "temperature=hot": "argument --temperature: invalid float value",
    "seed=999999999999999999999": "seed must be a whole number",
    "top-k=0": "top_k must be at least 1, got 0",
    "top-p=2": "top_p must lie in (0, 1], got 2.0",
    "min-p=0": "min_p must lie in (0, 1], got 0.0",
    "repetition-penalty=-1": "repetition_penalty must lie in [0.001, 1000], got -1.0",
    "stop=": "stop must not be an empty text",
    "max-new-tokens=0": "max_new_tokens must be at least 1, got 0",
    "from-start": "argument --from-start: not allowed with argument --prompt",
}


def test_what_cannot_be_sampled_is_one_line(folder, type_minigpt, monkeypatch):
    for word, message in REFUSED.items():
        words = [f"--{word}"] if "prompt" in word else ["--prompt=a", f"--{word}"]
        typed = type_minigpt("generate", str(folder), *words)
        assert (typed.code, typed.out, typed.err.count("\n")) == (2, "", 1)
        assert typed.err.startswith(f"error: {message}")
    typed = type_minigpt("generate", str(folder), "--from-start")
    assert typed.err.startswith("error: tokenizer char has no id that separates documents")
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert type_minigpt("generate", str(folder)).err.startswith("error: the prompt is empty")


def test_a_prompt_comes_from_a_pipe(folder, type_minigpt, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("the\n"))
    piped = type_minigpt("generate", str(folder), "--max-new-tokens", "5")
    typed = type_minigpt("generate", str(folder), "--max-new-tokens", "5", "--prompt", "the")
    assert (piped.out, piped.err) == (typed.out, "")


def test_a_terminal_is_asked_for_prompts_until_it_ends(folder, type_minigpt, monkeypatch):
    answers = iter(["the", "", "ß", "boat"])

    def answer(_):
        try:
            return next(answers)
        except StopIteration:
            raise EOFError from None

    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stdin", terminal)
    monkeypatch.setattr(builtins, "input", answer)
    typed = type_minigpt("generate", str(folder), "--max-new-tokens", "5", "--greedy")
    texts = generate(str(folder), ["the", "boat"], max_new_tokens=5, greedy=True)
    assert typed.out == "".join(f"{text.prompt}{text.text}\n" for text in texts) + "\n"
    assert typed.err.startswith("Type a text to continue; Ctrl-D ends.\nerror: the character 'ß'")
    assert (typed.code, typed.err.count("\n")) == (0, 2)
    refused = type_minigpt("generate", str(folder), "--json")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith("error: --json needs a prompt")


def piece(prompt, text, end=None):
    return Piece(prompt, text, WrittenToken(0, "", 1.0, 1.0), end)


def test_texts_are_printed_in_order_the_first_that_is_not_whole_as_it_comes(capsys):
    printed = []

    def pieces():
        for one in [piece(0, "a"), piece(1, "b"), piece(0, "c", End.STOP), piece(1, "d"),
                    piece(1, "", End.LENGTH)]:  # fmt: skip
            yield one
            printed.append(capsys.readouterr().out)

    print_in_order(["1", None], pieces())
    assert printed == ["1a", "", "c\n\nb", "d", "\n"]


def test_a_checkpoint_whose_weights_are_of_another_shape_is_refused(folder):
    path = folder / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["hyper_parameters"]["model"]["n_embd"] = 32
    torch.save(checkpoint, path)
    with pytest.raises(UserError, match="best.ckpt: its weights do not fit the model it names"):
        load_model(folder)
