"""`minigpt inspect`: what a token store holds, for people and for scripts."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

from minigpt.commands.prepare import prepared
from minigpt.errors import UserError
from minigpt.reports.terminal_table import Console, terminal_table
from minigpt.shown_text import shown
from minigpt.tokens.bytes_a_token import bytes_a_token
from minigpt.tokens.manifest import MANIFEST
from minigpt.tokens.split import SPLITS
from minigpt.tokens.store import TokenStore
from minigpt.tokens.tokenizer import from_spec

SHOWN = 128  # tokens of the training text that are printed
COUNTED = 1 << 24  # tokens that are counted at a time


def run(args: argparse.Namespace) -> None:
    if any("=" in word for word in args.target) and not Path(" ".join(args.target)).exists():
        store = prepared(args.target).store
    else:
        store = open_store(" ".join(args.target))
    print_inspection(inspect(store, args.verify), args.json)


def open_store(target: Path | str) -> TokenStore:
    """The store of a folder. Raises UserError where the folder is not a token store."""
    folder = Path(target)
    if not (folder / MANIFEST).exists():
        raise UserError(
            f"{target} is not a token store: it has no {MANIFEST}; name a folder that "
            "`minigpt prepare data=...` made, or data=... itself"
        )
    return TokenStore(folder)


def inspect(store: TokenStore | Path | str, verify: bool = False) -> dict[str, Any]:
    """A store's figures, its most frequent tokens and the start of its training text.

    Raises UserError for a folder without a store, and where `verify` finds a shard whose content
    has changed.
    """
    store = store if isinstance(store, TokenStore) else open_store(store)
    manifest = store.manifest
    if verify and (damaged := store.verify()):
        names = ", ".join(map(str, damaged))
        raise UserError(
            f"damaged, its sha256 differs: {names}; delete {store.folder} and the store is made "
            "again"
        )
    tokenizer = from_spec(manifest.tokenizer)
    counts = _count(store)
    total = int(counts.sum())
    top = np.argsort(-counts, kind="stable")[:20]
    return {
        "folder": str(store.folder),
        "verified": verify,
        "tokenizer": manifest.tokenizer["name"],
        "dtype": manifest.dtype,
        "tokens": manifest.tokens,
        "documents": manifest.documents,
        "shards": {split: len(manifest.shards[split]) for split in SPLITS},
        "domains": {
            name: {**domain, "share": domain["tokens"] / max(1, total)}
            for name, domain in manifest.domains.items()
        },
        "duplicates": manifest.duplicates,
        "empty": manifest.empty,
        "longest": manifest.longest,
        "largest_id": manifest.largest_id,
        "distinct_tokens": int((counts > 0).sum()),
        "top_tokens": [
            {"id": int(i), "text": tokenizer.decode([int(i)]), "share": int(counts[i]) / total}
            for i in top
            if counts[i]
        ],
        "bytes_a_token": asdict(density) if (density := bytes_a_token(store)) else None,
        "block": tokenizer.decode(store.tokens("train")[:SHOWN].tolist()),
        "fingerprint": manifest.fingerprint,
    }


def _count(store: TokenStore) -> NDArray[np.int64]:
    """(V) how often each token id occurs in the store."""
    counts = np.zeros(store.manifest.largest_id + 1, np.int64)
    for split in SPLITS:
        tokens = store.tokens(split)
        for start in range(0, len(tokens), COUNTED):
            counts += np.bincount(tokens[start : start + COUNTED], minlength=len(counts))
    return counts


def print_inspection(figures: dict[str, Any], as_json: bool) -> None:
    """Print what `inspect` returned, as tables or as a JSON object."""
    if as_json:
        print(json.dumps(figures, indent=2, ensure_ascii=False))
        return
    console = Console()
    verified = ", every shard's sha256 is right" if figures["verified"] else ""
    console.print(Text(figures["folder"], "bold"), soft_wrap=True)
    console.print(f"{figures['tokenizer']} as {figures['dtype']}{verified}\n")
    splits = terminal_table("split", "documents", "tokens", "shards")
    for split in SPLITS:
        row = (figures["documents"][split], figures["tokens"][split], figures["shards"][split])
        splits.add_row(split, *(f"{count:,}" for count in row))
    console.print(splits)
    domains = terminal_table("domain", "documents", "tokens", "share")
    for name, domain in figures["domains"].items():
        domains.add_row(Text(name), f"{domain['documents']:,}", f"{domain['tokens']:,}",
                        f"{domain['share']:.1%}")  # fmt: skip
    console.print(domains)
    top = terminal_table("frequent token", "id", "share")
    for token in figures["top_tokens"][:10]:
        top.add_row(Text(repr(token["text"])), str(token["id"]), f"{token['share']:.2%}")
    console.print(top)
    longest, density = figures["longest"], figures["bytes_a_token"]
    console.print(
        f"left out: {figures['duplicates']:,} duplicates, {figures['empty']:,} empty documents\n"
        f"longest document: {longest['tokens']:,} tokens, {longest['name']}\n"
        f"{figures['distinct_tokens']:,} distinct tokens, largest id {figures['largest_id']:,}",
        markup=False,
    )
    if density is not None:
        beside = "" if figures["tokenizer"] == "gpt2" else f", GPT-2's has {density['gpt2']:.2f}"
        part = "" if density["is_whole"] else f" (a sample of {density['documents']:,} documents)"
        console.print(f"{density['tokenizer']:.2f} bytes a token{beside}{part}", markup=False)
    console.print(f"\nThe first {SHOWN} tokens to train on:\n")
    print(shown(figures["block"]))
