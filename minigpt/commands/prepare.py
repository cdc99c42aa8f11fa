"""`minigpt prepare`: makes the token store of a configuration ahead of training."""

import argparse
import json
from collections.abc import Sequence
from typing import Any

from minigpt.batches.config import DataConfig
from minigpt.config import build, compose_config, refuse_resume
from minigpt.tokens.prepare import Prepared, prepare


def run(args: argparse.Namespace) -> None:
    result = prepared(args.overrides)
    if args.json:
        print(json.dumps(figures(result), indent=2))
    else:
        print_prepared(result)


def prepared(overrides: Sequence[str]) -> Prepared:
    """The token store of the configuration with these overrides, made if it is missing."""
    config = compose_config([*overrides])
    refuse_resume(config, "the text is that of a new run; name it with data=...")
    return prepare(build(DataConfig, "data", config.data))


def figures(result: Prepared) -> dict[str, Any]:
    """The store's folder and sizes, by split, and what was left out."""
    manifest = result.store.manifest
    return {
        "folder": str(result.store.folder),
        "made": result.made,
        "seconds": result.seconds,
        "tokenizer": manifest.tokenizer["name"],
        "documents": manifest.documents,
        "tokens": manifest.tokens,
        "max_tokens": result.max_tokens,
        "duplicates": manifest.duplicates,
        "empty": manifest.empty,
        "fingerprint": manifest.fingerprint,
    }


def print_prepared(result: Prepared) -> None:
    """Print the store's size, what was left out, and whether the text was too short."""
    manifest = result.store.manifest
    documents, tokens = sum(manifest.documents.values()), sum(manifest.tokens.values())
    how = f"made in {result.seconds:.2f} s" if result.made else "up to date"
    print(f"{result.store.folder}: {documents:,} documents, {tokens:,} tokens, {how}")
    if manifest.duplicates or manifest.empty:
        print(f"left out: {manifest.duplicates:,} duplicates, {manifest.empty:,} empty documents")
    if result.max_tokens and manifest.tokens["train"] < result.max_tokens:
        print(
            f"the text ended at {manifest.tokens['train']:,} of data.max_tokens="
            f"{result.max_tokens:,}"
        )
