"""How many bytes a token stands for, beside GPT-2's on the same text."""

from collections.abc import Iterator
from dataclasses import dataclass

from minigpt.tokens.sharded import Ids
from minigpt.tokens.split import SPLITS
from minigpt.tokens.store import TokenStore
from minigpt.tokens.tokenizer import from_spec, load_tokenizer

COUNTED_TOKENS = 1 << 20  # of the store's tokens, about


@dataclass(frozen=True)
class BytesAToken:
    """Mean UTF-8 bytes of a token; those that end documents are not counted."""

    tokenizer: float  # the store's own
    gpt2: float
    documents: int  # that were counted
    is_whole: bool  # False: a sample of the store's documents


def bytes_a_token(store: TokenStore) -> BytesAToken | None:
    """The mean bytes of a token in a store, or in documents evenly spread over a large one.

    None for a store without text.
    """
    tokenizer = from_spec(store.manifest.tokenizer)
    lengths = tokenizer.bytes_per_id()
    every = -(-sum(store.manifest.tokens.values()) // COUNTED_TOKENS)
    tokens = size = documents = 0
    texts = []
    for ids in _documents(store, every):
        is_text = ids[lengths[ids] > 0]
        tokens += len(is_text)
        size += int(lengths[is_text].sum())
        texts.append(tokenizer.decode(is_text.tolist()))
        documents += 1
    if not size:
        return None
    gpt2 = sum(map(len, map(load_tokenizer("gpt2").encode, texts)))
    return BytesAToken(size / tokens, size / gpt2, documents, every <= 1)


def _documents(store: TokenStore, every: int) -> Iterator[Ids]:
    """The ids of one document in `every`, those of a long one cut."""
    number = 0
    for split in SPLITS:
        tokens = store.tokens(split)
        for document in store.documents(split):
            if number % every == 0:
                yield tokens[document.start : document.start + min(document.tokens, COUNTED_TOKENS)]
            number += 1
