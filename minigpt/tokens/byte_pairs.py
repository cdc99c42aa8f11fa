"""Byte-pair encodings: a published one of tiktoken, or one trained on a text."""

import hashlib
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import tiktoken
from numpy.typing import NDArray
from tiktoken_ext.openai_public import r50k_pat_str

from minigpt.tokens.fast_encoder import FastEncoder, NotFastError
from minigpt.tokens.gpt2_table import END_OF_TEXT, bytes_of_words, visible_words

BatchEncoder = Callable[[Sequence[str]], list[NDArray[np.uint32]]]

BYTES = [bytes([byte]) for byte in range(256)]


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


class TrainedTokenizer(BytePairTokenizer):
    """`bpe-N`: the 256 bytes, the tokens merged in training in their order, the end of text.

    It splits text into words as GPT-2 does, so that only the vocabulary is another one.
    """

    def __init__(self, merged: Sequence[bytes]) -> None:
        self.merged = [*merged]
        ranks = {token: rank for rank, token in enumerate([*BYTES, *merged])}
        name = f"bpe-{len(ranks) + 1}"
        super().__init__(name, r50k_pat_str, ranks, {END_OF_TEXT: len(ranks)})

    @classmethod
    def from_spec(cls, spec: dict[str, Any]) -> "TrainedTokenizer":
        """The tokenizer of a spec. Raises ValueError where it is damaged."""
        tokenizer = cls(bytes_of_words(str(spec["merged"]).split()))
        if tokenizer.spec() != {key: spec[key] for key in tokenizer.spec()}:
            raise ValueError("its tokens do not have its fingerprint")
        return tokenizer

    def spec(self) -> dict[str, Any]:
        # A text, not a list: a manifest would give each token a line of its own.
        return {**super().spec(), "merged": " ".join(visible_words(self.merged))}
