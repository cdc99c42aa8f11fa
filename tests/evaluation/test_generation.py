"""Text from a model, as it comes and whole, alone and among others."""

from itertools import pairwise

import pytest
import torch

from minigpt.errors import UserError
from minigpt.evaluation.generation import End, Limits, generate, stream_texts
from minigpt.model.decoder import Decoder
from minigpt.model.generate import generate as generate_ids
from minigpt.model.gpt import GPT, GPTConfig
from minigpt.model.sampling import Sampling
from minigpt.tokens.tokenizer import CharTokenizer, load_tokenizer
from tests.trained import trained

GPT2 = load_tokenizer("gpt2")


def model_of(tokenizer, **changes):
    torch.manual_seed(1)
    shape = {
        "n_layer": 1, "n_head": 2, "n_embd": 16, "mlp_ratio": 2, "block_size": 8, "dropout": 0.0,
        "vocab_size": tokenizer.n_vocab, "embd_dropout": 0.0, "bias": True, "head_bias": False,
        "tie_weights": False, "positions": "learned", "init": "gpt2", **changes,
    }  # fmt: skip
    return trained(GPT(GPTConfig(**shape)), tokenizer)


@pytest.fixture
def writing(monkeypatch):
    """A model that writes the given ids, each after the one before, whatever else it has read."""

    def make(*chains):
        following = {i: after for ids in chains for i, after in pairwise(ids)}

        def read(decoder, tokens):
            logits = torch.zeros(len(tokens), GPT2.n_vocab)
            for row, i in zip(logits, tokens[:, 0].tolist(), strict=True):
                row[following[i]] = 100.0
            return logits

        monkeypatch.setattr(Decoder, "read", read)
        return model_of(GPT2)

    return make


def pieces(model, prompt, limits):
    return [
        (piece.text, piece.end)
        for piece in stream_texts(model, [prompt], Sampling(), limits, seed=0)
    ]


def test_text_comes_in_whole_characters(writing):
    model = writing(GPT2.encode("a 🐝 bee"))
    expected = [(" ", None), ("", None), ("🐝", None), (" bee", End.LENGTH)]
    assert pieces(model, "a", Limits(max_new_tokens=4)) == expected
    expected = [(" ", None), ("\ufffd", End.LENGTH)]
    assert pieces(model, "a", Limits(max_new_tokens=2)) == expected


def test_a_text_ends_before_a_stop_string_that_spans_tokens(writing):
    model = writing(GPT2.encode("one two, three four"))
    limits = Limits(max_new_tokens=9, stop=("four", ", thr"))
    assert pieces(model, "one", limits) == [(" two", None), ("", None), ("", End.STOP)]
    (text,) = generate(model, ["one"], max_new_tokens=9, stop=["four", ", thr"])
    assert (text.text, text.end) == (" two", End.STOP)
    assert [token.text for token in text.tokens] == [" two", ",", " three"]


def test_a_text_ends_where_the_model_ends_its_document(writing):
    ids = [*GPT2.encode("one two"), GPT2.end_of_text, *GPT2.encode(" three")]
    model = writing(ids)
    (text,) = generate(model, ["one"], max_new_tokens=3, stop=["two<"])
    assert (text.text, text.end) == (" two", End.END_OF_TEXT)
    assert [token.id for token in text.tokens] == ids[1:3]
    (text,) = generate(model, ["one"], max_new_tokens=3, ignore_end=True)
    assert (text.text, text.end) == (" two<|endoftext|> three", End.LENGTH)


def test_a_text_that_ends_leaves_the_others_going(writing):
    one, two, three = "a b c.", "d e. f", "g. h i"
    model = writing(*map(GPT2.encode, (one, two, three)))
    for batch in (False, True):
        texts = generate(model, ["a", "d", "g"], max_new_tokens=3, stop=["."], batch=batch)
        assert [text.text for text in texts] == [" b c", " e", ""]


SETTINGS = [
    {"temperature": 0.8, "top_p": 0.9},
    {"greedy": True, "repetition_penalty": 1.2},
    {"min_p": 0.01, "stop": ["e", "a"]},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_prompt_has_the_same_text_alone_and_among_others(settings):
    model = model_of(CharTokenizer("abcdefgh "), init="torch")
    prompts = ["abc", "h", "a bad ch", "abc"]
    settings = {"max_new_tokens": 30, "seed": 5, **settings}
    together = generate(model, prompts, **settings)
    batched = generate(model, prompts, batch=True, **settings)
    for prompt, text, rounded in zip(prompts, together, batched, strict=True):
        assert generate(model, [prompt], **settings) == [text]
        # So small a vocabulary has no draw between two tokens.
        assert (rounded.text, rounded.end) == (text.text, text.end)
        for a, b in zip(rounded.tokens, text.tokens, strict=True):
            assert a.probability == pytest.approx(b.probability, rel=1e-3)
    assert together[0].text != together[1].text


def test_only_a_batch_writes_texts_side_by_side():
    model = model_of(CharTokenizer("ab"))
    for batch, expected in ((False, [0, 0, 1, 1]), (True, [0, 1, 0, 1])):
        pieces = stream_texts(model, ["a", "b"], Sampling(), Limits(max_new_tokens=2), 1, batch)
        assert [piece.prompt for piece in pieces] == expected


def test_without_a_prompt_a_document_begins_at_its_start():
    model = model_of(GPT2)
    start = torch.tensor([[50256]])  # GPT-2's <|endoftext|>, which stands between documents
    ids = generate_ids(model.net, start, 5, Sampling(greedy=True), 0)[0, 1:].tolist()
    (text,) = generate(model, [None], max_new_tokens=5, greedy=True)
    assert text.text == GPT2.decode(ids)
    assert text.prompt is None
    assert len(GPT2.encode("<|endoftext|>")) == 7  # as a prompt it is ordinary text


@pytest.mark.parametrize(
    ("tokenizer", "changes", "prompts", "message"),
    [
        (GPT2, {}, [], "there is no prompt"),
        (GPT2, {}, ["a", ""], "the prompt is empty; give at least one token"),
        (GPT2, {}, ["a b c d e f g h i"], "the prompt has 9 tokens, the model reads 8"),
        (GPT2, {"vocab_size": 300}, ["zebra"], "the model knows 300 tokens; word it differently"),
        (GPT2, {"vocab_size": 300}, [None], "this model never saw the start of a document"),
        (CharTokenizer("ab"), {}, [None], "tokenizer char has no id that separates documents"),
        (CharTokenizer("ab"), {}, ["a\n"], r"the character '\n' is not among the 2"),
    ],
)
def test_a_prompt_that_cannot_be_continued_is_named(tokenizer, changes, prompts, message):
    model = model_of(tokenizer, **changes)
    with pytest.raises(UserError) as error:
        generate(model, prompts)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1, got 0"),
        ({"max_new_tokens": 1.5}, "limits.max_new_tokens must be int, got 1.5"),
        ({"stop": ["a", ""]}, "stop must not be an empty text; leave it out"),
        ({"seed": -1}, "seed must be a whole number from 0 to 2^63 - 1, got -1"),
        ({"min_p": 2.0}, "min_p must lie in (0, 1], got 2.0"),
    ],
)
def test_a_setting_out_of_range_is_named(arguments, message):
    with pytest.raises(UserError) as error:
        generate(model_of(CharTokenizer("ab")), ["a"], **arguments)
    assert str(error.value) == message
