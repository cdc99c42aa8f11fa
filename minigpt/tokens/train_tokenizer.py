"""Trains the tokenizer `bpe-N` of a text, or reads the one that was trained before."""

import hashlib
import json
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from minigpt.atomic_file import explain_disk_errors
from minigpt.errors import UserError
from minigpt.text.file_digests import FileDigests
from minigpt.text.opening import BytesRead
from minigpt.text.source import Source
from minigpt.tokens.bpe_training import LEAST_PAIRS, merged_tokens
from minigpt.tokens.byte_pairs import TrainedTokenizer
from minigpt.tokens.config import CorpusConfig
from minigpt.tokens.durable import DISK_WAY_OUT
from minigpt.tokens.making import making
from minigpt.tokens.survey import held_out_rule
from minigpt.tokens.tokenizer_file import Origin, TokenizerFile, read_tokenizer_file
from minigpt.tokens.training_sample import TrainingSample, training_sample

FOLDER = "tokenizers"  # below data.root


@dataclass(frozen=True)
class Trained:
    """A tokenizer's file, and what it took to have it."""

    file: TokenizerFile
    path: Path
    made: bool  # by this call; False: it was there already
    seconds: float


def trained_tokenizer(
    config: CorpusConfig, n_vocab: int, source: Source, digests: FileDigests, root: Path
) -> Trained:
    """The tokenizer of a text with n_vocab ids, trained if it is not there yet.

    source: without canaries; they and data.subset change no tokenizer, so that runs with and
    without them read the same ids. The file's name is a fingerprint of the text and of all that
    decides what is trained on.
    Raises UserError where the text gives fewer ids, or was changed while it was read.
    """
    started = time.perf_counter()
    key = origin_fingerprint(config, source)
    path = root / FOLDER / f"{config.source}-bpe-{n_vocab}-{key[:16]}.json"
    made = False
    if not path.exists():
        with explain_disk_errors(path.parent, DISK_WAY_OUT):
            path.parent.mkdir(exist_ok=True)
        with making("tokenizer", path, path):
            if not path.exists():
                _train(config, n_vocab, source, digests, key).write(path)
                made = True
    file = read_tokenizer_file(path, "delete it and it is made again")
    return Trained(file, path, made, time.perf_counter() - started)


def _train(
    config: CorpusConfig, n_vocab: int, source: Source, digests: FileDigests, key: str
) -> TokenizerFile:
    print(f"reading the text for a tokenizer of {n_vocab:,} ids", file=sys.stderr)
    sample = training_sample(
        source.documents(BytesRead()),
        held_out_rule(config, source),
        config.tokenizer_bytes,
        config.document_tokens,
        config.max_tokens,
    )
    of = "the training text" if sample.is_whole else "a sample of the training text"
    print(f"training it on {of}, {sample.bytes / 1e6:,.1f} MB", file=sys.stderr)
    tokenizer = TrainedTokenizer(merged_tokens(sample.texts(), n_vocab))
    digests.check_unchanged()
    if tokenizer.n_vocab != n_vocab:
        raise UserError(_too_large(config, n_vocab, sample, tokenizer.n_vocab))
    library = f"tokenizers {version('tokenizers')}"
    origin = Origin(key, sample.bytes, len(sample.contents), sample.is_whole, library)
    return TokenizerFile(tokenizer, origin)


def _too_large(config: CorpusConfig, n_vocab: int, sample: TrainingSample, most: int) -> str:
    """Why a text does not give n_vocab ids, but `most`, and the way out."""
    if not sample.bytes:
        return (
            f"data.tokenizer=bpe-{n_vocab}: there is no training text; give more text, or lower "
            f"data.val_fraction={config.val_fraction} and data.test_fraction={config.test_fraction}"
        )
    more = "give more text"
    if not sample.is_whole:
        keys = ("tokenizer_bytes", "max_tokens", "document_tokens")
        limits = [f"data.{key}={value}" for key in keys if (value := getattr(config, key))]
        more = f"raise {' or '.join(limits)}"
    return (
        f"data.tokenizer=bpe-{n_vocab}: {sample.bytes:,} bytes of training text give {most:,} ids, "
        f"then no pair of tokens occurs twice; set data.tokenizer=bpe-{most}, or {more}"
    )


def origin_fingerprint(config: CorpusConfig, source: Source) -> str:
    """Names the text that a tokenizer is trained on."""
    settings = {
        "text": source.identity,
        "val_fraction": config.val_fraction,
        "test_fraction": config.test_fraction,
        "max_tokens": config.max_tokens,
        "document_tokens": config.document_tokens,
        "tokenizer_bytes": config.tokenizer_bytes,
        "least_pairs": LEAST_PAIRS,
    }
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()
