"""What benchmarks/tokenizer.py measures, each function in a process of its own.

python benchmarks/tokenizer_sides.py FUNCTION ARGUMENTS     with the arguments as a JSON list
"""

import hashlib
import importlib
import importlib.metadata
import importlib.util
import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from machine import print_result, run_script

TRAINERS = ("tokenizers", "rustbpe", "gigatoken")
STRINGS_AT_ONCE = 10_000


def in_process(function: str, *arguments: Any) -> Any:
    """Call one of FUNCTIONS in a new process: its result, and its `peak` memory in bytes."""
    return run_script(__file__, function, json.dumps(arguments), folder=".")


def version_of(package: str) -> str | None:
    """The version of a package; None where it is not installed."""
    if importlib.util.find_spec(package) is None:
        return None
    return importlib.metadata.version(package)


# The trainers: texts -> the merged tokens in order.


def by_tokenizers(texts: list[str], n_vocab: int) -> list[bytes]:
    """The trainer that minigpt uses, as minigpt calls it."""
    from minigpt.tokens.bpe_training import merged_tokens

    return merged_tokens(texts, n_vocab)


def by_rustbpe(texts: list[str], n_vocab: int) -> list[bytes]:
    rustbpe = importlib.import_module("rustbpe")  # has no types
    # GPT-2's pattern as rustbpe's engine of regular expressions takes it.
    pattern = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    trainer = rustbpe.Tokenizer()
    trainer.train_from_iterator(iter(texts), vocab_size=n_vocab - 1, pattern=pattern)
    ranks = {bytes(token): rank for token, rank in trainer.get_mergeable_ranks()}
    return sorted(ranks, key=lambda token: ranks[token])[256:]


def by_gigatoken(texts: list[str], n_vocab: int) -> list[bytes]:
    import gigatoken

    separator = b"\x00"  # text has none
    content = separator.join(text.encode() for text in texts)
    vocabulary, _ = gigatoken.train_bpe(content, n_vocab - 1, [], separator=separator)
    return [vocabulary[i] for i in sorted(vocabulary)][256:]


def train(trainer: str, overrides: list[str], n_vocab: int) -> dict[str, Any]:
    """Train on the training split of a corpus, whose texts are in memory: seconds and the tokens.

    minigpt's own sample of the text, so that each trainer reads the same.
    """
    texts = training_texts(overrides)
    function = {"tokenizers": by_tokenizers, "rustbpe": by_rustbpe, "gigatoken": by_gigatoken}
    start = time.perf_counter()
    merged = function[trainer](texts, n_vocab)
    return {
        "seconds": time.perf_counter() - start,
        "bytes": sum(len(text.encode()) for text in texts),
        "tokens": [token.hex() for token in merged],
        "fingerprint": hashlib.sha256(b"\n".join(merged)).hexdigest(),
    }


def memory_before(overrides: list[str]) -> dict[str, Any]:
    """The peak memory of a process that holds the texts and trains nothing."""
    return {"bytes": sum(map(len, training_texts(overrides)))}


def training_texts(overrides: list[str]) -> list[str]:
    from minigpt.batches.config import DataConfig
    from minigpt.config import build, compose_config
    from minigpt.text.opening import BytesRead
    from minigpt.tokens.open_text import open_text
    from minigpt.tokens.survey import held_out_rule
    from minigpt.tokens.training_sample import training_sample

    config = build(DataConfig, "data", compose_config(overrides).data)
    _, _, source = open_text(config)
    rule = held_out_rule(config, source)
    documents = source.documents(BytesRead())
    return [*training_sample(documents, rule, config.tokenizer_bytes, None, None).texts()]


# The ids.


def held_out_bytes_a_token(overrides: list[str]) -> dict[str, Any]:
    """Mean bytes of a token in the held-out text of a corpus, ends of documents not counted."""
    from minigpt.commands.prepare import prepared
    from minigpt.tokens.tokenizer import from_spec

    store = prepared(overrides).store
    lengths = from_spec(store.manifest.tokenizer).bytes_per_id()
    counted = [lengths[store.tokens(split)[:]] for split in ("val", "test")]
    return {
        "bytes": int(sum(part.sum() for part in counted)),
        "tokens": int(sum((part > 0).sum() for part in counted)),
        "largest_id": store.manifest.largest_id,
    }


def encode_rates(overrides: list[str], rounds: int) -> dict[str, Any]:
    """MB/s of a corpus in memory on one core, by tiktoken and by the engine of a preparation."""
    from minigpt.commands.prepare import prepared
    from minigpt.tokens.byte_pairs import BytePairTokenizer
    from minigpt.tokens.tokenizer import from_spec

    texts = training_texts([*overrides, "data.tokenizer=gpt2"])
    size = sum(len(text.encode()) for text in texts)
    tokenizer = from_spec(prepared(overrides).store.manifest.tokenizer)
    assert isinstance(tokenizer, BytePairTokenizer)
    rates: dict[str, list[float]] = {"tiktoken": [], "preparation": []}
    for _ in range(rounds):
        start = time.perf_counter()
        slow = [len(tokenizer.encode(text)) for text in texts]
        middle = time.perf_counter()
        fast = [len(row) for row in tokenizer.batch_encoder()(texts)]
        end = time.perf_counter()
        assert slow == fast
        rates["tiktoken"].append(size / (middle - start) / 1e6)
        rates["preparation"].append(size / (end - middle) / 1e6)
    return rates


def equal_random_strings(overrides: list[str], count: int) -> dict[str, Any]:
    """How many random strings get other ids than tiktoken's: half any Unicode, half of words.

    Raises where one is not decoded to itself.
    """
    from minigpt.commands.prepare import prepared
    from minigpt.tokens.byte_pairs import BytePairTokenizer
    from minigpt.tokens.tokenizer import from_spec

    tokenizer = from_spec(prepared(overrides).store.manifest.tokenizer)
    assert isinstance(tokenizer, BytePairTokenizer)
    encode_batch = tokenizer.batch_encoder()
    strings = random_strings(training_texts([*overrides, "data.tokenizer=gpt2"]))
    different = tokens = 0
    for _ in range(-(-count // STRINGS_AT_ONCE)):
        batch = [*islice(strings, STRINGS_AT_ONCE)]
        for text, row in zip(batch, encode_batch(batch), strict=True):
            ids = row.tolist()
            different += ids != tokenizer.encode(text)
            tokens += len(ids)
            if tokenizer.decode(ids) != text:
                raise SystemExit(f"{text!a} is not decoded to itself")
    return {"strings": -(-count // STRINGS_AT_ONCE) * STRINGS_AT_ONCE, "different": different,
            "tokens": tokens}  # fmt: skip


def random_strings(texts: list[str]) -> Iterator[str]:
    """Strings of random code points, and of random pieces of a text with some among them."""
    rng = random.Random(1)
    words = [word for text in texts[:200] for word in text.split(" ")][:20_000]
    points = [*range(0xD800), *range(0xE000, 0x110000)]
    planes = [points, points[:0x80], points[:0x800], points[:0xD800]]
    while True:
        plane = rng.choice(planes)
        yield "".join(map(chr, rng.choices(plane, k=rng.randrange(1, 40))))
        pieces = rng.choices(words, k=rng.randrange(1, 12))
        pieces.insert(rng.randrange(len(pieces) + 1), chr(rng.choice(points)))
        yield rng.choice(["", " ", "\n"]).join(pieces)


def training_step(overrides: list[str], seconds: float) -> dict[str, Any]:
    """A training step at the baseline's shape: its seconds, its tokens, and bytes a token."""
    from train_sides import minigpt_step

    from minigpt.commands.prepare import prepared
    from minigpt.config import compose_config, share_cores
    from minigpt.tokens.tokenizer import from_spec

    share_cores()
    store = prepared(overrides).store
    lengths = from_spec(store.manifest.tokenizer).bytes_per_id()
    ids = store.tokens("train")[:]
    config = compose_config(overrides)
    return {
        **minigpt_step(overrides, seconds),
        "tokens": config.data.batch_size * config.model.block_size,
        "bytes_a_token": float(lengths[ids].mean()),
    }


FUNCTIONS: dict[str, Callable[..., Any]] = {
    f.__name__: f
    for f in (train, memory_before, held_out_bytes_a_token, encode_rates, equal_random_strings,
              training_step)
}  # fmt: skip


if __name__ == "__main__":
    print_result(FUNCTIONS[sys.argv[1]](*json.loads(sys.argv[2])))
