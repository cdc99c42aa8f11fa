"""An exploration -> the bytes that its page reads: a JSON head, then arrays of numbers.

Shapes: N tokens of all excerpts together, K alternatives, E excerpts, S spans, W words, M texts
whose attention is kept.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minigpt.evaluation.exploration import Exploration, Reading
from minigpt.evaluation.exploration_figures import SHORTEST_SPAN
from minigpt.evaluation.known_spans import known_spans
from minigpt.tokens.tokenizer import Tokenizer

NOT_SCORED = 2**16 - 1  # in the place of nats and rank
LARGEST = NOT_SCORED - 1  # larger nats and ranks are shown as this
ALIGNMENT = 8  # bytes: JavaScript reads a number of n bytes at a multiple of n

Array = NDArray[Any]


def explorer_data(exploration: Exploration, names: Sequence[str]) -> bytes:
    """All that an exploration's page shows; names are those of its networks.

    The length of the head as a little-endian uint32, the head, and the arrays that it names.
    """
    excerpts, readings = exploration.excerpts, exploration.readings
    ends = np.cumsum([len(excerpt.ids) for excerpt in excerpts])
    ids = np.concatenate([excerpt.ids for excerpt in excerpts]).astype(np.int32)  # (N)
    alternatives = [_at_tokens([rows.ids for rows in r.rows], ends) for r in readings]  # (N, K)
    words, indices = np.unique(
        np.concatenate([ids, *map(np.ravel, alternatives)]), return_inverse=True
    )
    indices = indices.astype(np.uint16 if len(words) <= 2**16 else np.uint32)
    texts = [readings[0].model.tokenizer.token_bytes(word) for word in words.tolist()]
    arrays: dict[str, Array] = {
        "words": np.frombuffer(b"".join(texts), np.uint8),
        "wordEnds": np.cumsum([len(text) for text in texts]).astype(np.uint32),  # (W)
        "ends": ends.astype(np.uint32),  # (E)
        "documentTokens": np.array([e.document_tokens for e in excerpts], np.uint32),  # (E)
        "ids": indices[: len(ids)],  # (N) words
    }
    for i, reading in enumerate(readings):
        first = len(ids) + i * alternatives[0].size
        arrays[f"alternatives{i}"] = indices[first : first + alternatives[0].size]  # (N, K)
        arrays |= {f"{name}{i}": array for name, array in _reading_arrays(reading, ends).items()}
    configs = [reading.model.net.config for reading in readings]
    head = {
        "runs": [
            {"name": name, "blocks": config.n_layer, "heads": config.n_head}
            for name, config in zip(names, configs, strict=True)
        ],
        "choices": alternatives[0].shape[1],
        "scoresFirst": exploration.separator is not None,
        "shortestSpan": SHORTEST_SPAN,
        "names": [excerpt.name for excerpt in excerpts],
        "domains": [excerpt.domain for excerpt in excerpts],
        "splits": [excerpt.split for excerpt in excerpts],
        "notText": _not_text(words.tolist(), texts, readings[0].model.tokenizer),
    }
    return _packed(head, arrays)


def _reading_arrays(reading: Reading, ends: Array) -> dict[str, Array]:
    """What a network makes of all excerpts, in small integers."""
    rows = reading.rows
    nats = [_uint16(part.nats * 1000) for part in rows]
    rank = [_uint16(part.rank) for part in rows]
    probabilities = [_uint16(part.probabilities * LARGEST) for part in rows]
    spans = [
        (i, len_of_text - len(part.rank) + span.start, span.tokens)
        for i, (part, len_of_text) in enumerate(zip(rows, np.diff(ends, prepend=0), strict=True))
        for span in known_spans(part.rank, SHORTEST_SPAN)
    ]
    maps = reading.attention
    return {
        "nats": _at_tokens(nats, ends, NOT_SCORED),  # (N) thousandths
        "rank": _at_tokens(rank, ends, NOT_SCORED),  # (N)
        "probabilities": _at_tokens(probabilities, ends),  # (N, K) parts of LARGEST
        "spans": np.array(spans, np.uint32).ravel(),  # (S, 3) excerpt, first token, tokens
        "mapped": np.array(  # (M, 2) excerpt, T
            [(number, weights.shape[-1]) for number, weights in maps.items()], np.uint32
        ).ravel(),
        # Of each map block by block, head by head, row by row up to the diagonal; 255ths.
        "attention": np.concatenate([_triangles(weights) for weights in maps.values()]),
    }


def _at_tokens(parts: Sequence[Array], ends: Array, fill: int = 0) -> Array:
    """Rows of each excerpt's scored tokens -> of all tokens, which end at `ends`."""
    out = np.full((ends[-1], *parts[0].shape[1:]), fill, parts[0].dtype)
    for end, part in zip(ends.tolist(), parts, strict=True):
        out[end - len(part) : end] = part
    return out


def _uint16(values: Array) -> NDArray[np.uint16]:
    return np.rint(values).clip(0, LARGEST).astype(np.uint16)


def _triangles(weights: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(L, H, T, T) -> what is on and below the diagonals, a byte each."""
    rows, columns = np.tril_indices(weights.shape[-1])
    return np.rint(weights[..., rows, columns] * 255).astype(np.uint8).ravel()


def _not_text(words: Iterable[int], texts: Iterable[bytes], tokenizer: Tokenizer) -> dict[int, str]:
    """What to call the words without text, by their index."""
    return {
        i: "end of text" if word == tokenizer.end_of_text else f"id {word}"
        for i, (word, text) in enumerate(zip(words, texts, strict=True))
        if not text
    }


def _packed(head: dict[str, Any], arrays: dict[str, Array]) -> bytes:
    places, content = {}, bytearray()
    for name, array in arrays.items():
        places[name] = [array.dtype.name, len(content), array.size]
        content += array.astype(array.dtype.newbyteorder("<")).tobytes()
        content += bytes(-len(content) % ALIGNMENT)
    text = json.dumps({**head, "arrays": places}, ensure_ascii=False).encode()
    text += b" " * (-(4 + len(text)) % ALIGNMENT)
    return len(text).to_bytes(4, "little") + text + content
