"""`minigpt prepare`: makes the token store of a configuration ahead of training."""

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from minigpt.batches.config import DataConfig
from minigpt.config import build, compose_config, refuse_resume
from minigpt.errors import UserError
from minigpt.tokens.prepare import Prepared, prepare

if TYPE_CHECKING:
    from minigpt.tokens.engines import EngineConfig
ENGINE_KEYS = ("engine", "workers", "partition", "time")


def run(args: argparse.Namespace) -> None:
    overrides = [word for word in args.overrides if word.partition("=")[0] not in ENGINE_KEYS]
    keys = dict(word.split("=", 1) for word in args.overrides if word not in overrides)
    result = prepared(overrides) if not keys else _prepared_by_workers(overrides, keys)
    if result is None:
        return
    if args.json:
        print(json.dumps(figures(result), indent=2))
    else:
        print_prepared(result)


def _prepared_by_workers(overrides: Sequence[str], keys: dict[str, str]) -> Prepared | None:
    """The store that an engine's workers make; None if they are in a cluster's queue."""
    # Imported only now, since few preparations need it.
    from minigpt.tokens.engines import EngineConfig, QueuedError

    if "engine" not in keys:
        raise UserError(f"{next(iter(keys))}= belongs to an engine; name it, as in engine=local")
    values: dict[str, Any] = dict(keys)
    if "workers" in keys:
        if not keys["workers"].isdecimal():
            raise UserError(f"workers must be a whole number, got {keys['workers']}")
        values["workers"] = int(keys["workers"])
    try:
        return prepared(overrides, EngineConfig(**values))
    except QueuedError as queued:
        print(queued)
        return None


def prepared(overrides: Sequence[str], engine: "EngineConfig | None" = None) -> Prepared:
    """The token store of the configuration with these overrides, made if it is missing."""
    config = compose_config([*overrides])
    refuse_resume(config, "the text is that of a new run; name it with data=...")
    return prepare(build(DataConfig, "data", config.data), engine=engine)


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
