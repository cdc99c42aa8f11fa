"""`minigpt tokenizer`: trains a tokenizer on the training text of a corpus."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minigpt.batches.config import DataConfig
from minigpt.config import build, compose_config, refuse_resume
from minigpt.errors import UserError
from minigpt.tokens.open_text import open_text
from minigpt.tokens.tokenizer_file import TokenizerFile
from minigpt.tokens.tokenizer_name import check_vocabulary_size, names_a_file
from minigpt.tokens.train_tokenizer import Trained, trained_tokenizer


def run(args: argparse.Namespace) -> None:
    trained = train_tokenizer(args.overrides, args.vocab_size, args.out)
    if args.json:
        print(json.dumps(figures(trained, args.out), indent=2))
    else:
        print_trained(trained, args.out)


def train_tokenizer(overrides: Sequence[str], vocab_size: int, out: Path | None = None) -> Trained:
    """The tokenizer of the training text that `data=...` names; also written to `out`.

    Raises UserError where the text gives fewer ids, or `out` is there already.
    """
    check_vocabulary_size("--vocab-size", vocab_size, vocab_size)
    for override in overrides:
        if override.lstrip("+").startswith("data.tokenizer="):
            raise UserError(f"{override}: --vocab-size says what is trained; leave it out")
    if out is not None:
        _check_out(out)
    config = compose_config([f"data.tokenizer=bpe-{vocab_size}", *overrides])
    refuse_resume(config, "a tokenizer is trained before a run")
    corpus = build(DataConfig, "data", config.data)
    if corpus.source == "store":
        raise UserError(
            "data=store holds ids and no text; name the text itself, as in data=files "
            "data.files=[notes.txt]"
        )
    root, digests, source = open_text(corpus)
    trained = trained_tokenizer(corpus, vocab_size, source, digests, root)
    if out is not None:
        trained.file.write(out)
    return trained


def _check_out(out: Path) -> None:
    if not names_a_file(out.name):
        raise UserError(
            f"--out {out}: the name has to end with .json, by which data.tokenizer knows a file"
        )
    if out.exists():
        raise UserError(f"--out {out} exists already; name another file, or delete it")


def figures(trained: Trained, out: Path | None) -> dict[str, Any]:
    """The tokenizer's file, its size, and what it was trained on."""
    file: TokenizerFile = trained.file
    return {
        "file": str(out or trained.path),
        "made": trained.made,
        "seconds": trained.seconds,
        "tokenizer": file.tokenizer.name,
        "vocab_size": file.tokenizer.n_vocab,
        "bytes": file.origin.bytes,
        "documents": file.origin.documents,
        "is_whole": file.origin.is_whole,
        "library": file.origin.library,
        "fingerprint": file.tokenizer.fingerprint,
    }


def print_trained(trained: Trained, out: Path | None) -> None:
    """Print where the tokenizer is, what it was trained on, and how it is used."""
    file, origin = trained.file, trained.file.origin
    how = f"trained in {trained.seconds:.2f} s" if trained.made else "up to date"
    part = "" if origin.is_whole else ", a sample of the training text"
    print(
        f"{out or trained.path}: {file.tokenizer.n_vocab:,} ids from {origin.bytes / 1e6:,.1f} MB "
        f"in {origin.documents:,} documents{part}, {how}"
    )
    name = str(out) if out else file.tokenizer.name
    print(f"use it with data.tokenizer={name}; minigpt inspect shows its bytes a token")
