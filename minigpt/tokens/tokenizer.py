"""Tokenizers by name or by what a checkpoint stores: GPT-2's exact table, offline; characters."""

import hashlib
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
import tiktoken
from numpy.typing import NDArray
from tiktoken_ext.openai_public import r50k_pat_str

from minigpt.errors import UserError
from minigpt.tokens.byte_pairs import BatchEncoder, BytePairTokenizer, TrainedTokenizer
from minigpt.tokens.gpt2_table import END_OF_TEXT, gpt2_ranks

TABLES = ("alphabet", "merged")  # the keys of a spec that holds its tokens


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
        known = ", ".join(["char", "bpe-N", *tiktoken.list_encoding_names()])
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

    Raises UserError if it is not a tokenizer's, or the installed encoding of that name is another.
    """
    for key in ("name", "fingerprint", *(table for table in TABLES if table in spec)):
        if not isinstance(spec.get(key), str):
            raise UserError(f"tokenizer {spec.get('name')}: its {key} is damaged or missing")
    if "merged" in spec or spec["name"] == "char":
        try:
            return _from_table(spec)
        except (KeyError, ValueError) as error:
            raise UserError(f"tokenizer {spec['name']}: it is damaged ({error})") from None
    tokenizer = load_tokenizer(spec["name"])
    if tokenizer.fingerprint != spec["fingerprint"]:
        raise UserError(
            f"tokenizer {spec['name']}: the installed table differs from the one used in training "
            f"(fingerprint {tokenizer.fingerprint[:12]}, expected {spec['fingerprint'][:12]}); "
            "install the version of tiktoken that the run's summary.json names"
        )
    return tokenizer


def _from_table(spec: dict[str, Any]) -> Tokenizer:
    """The tokenizer of a spec with a table. Raises KeyError or ValueError where it is damaged."""
    if "merged" in spec:
        return TrainedTokenizer.from_spec(spec)
    tokenizer = CharTokenizer(spec["alphabet"])
    if tokenizer.spec() != {key: spec[key] for key in tokenizer.spec()}:
        raise ValueError("its characters do not have its fingerprint")
    return tokenizer


def id_dtype(largest_id: int) -> np.dtype:
    """The narrowest unsigned type that holds every id: uint16 or uint32."""
    return np.dtype(np.uint16 if largest_id <= np.iinfo(np.uint16).max else np.uint32)
