"""What a token store holds, for people and for scripts."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from minigpt.errors import UserError
from minigpt.tokens.manifest import MANIFEST
from minigpt.tokens.prepare import Prepared
from minigpt.tokens.split import SPLITS
from minigpt.tokens.store import TokenStore
from minigpt.tokens.tokenizer import from_spec

SHOWN = 128  # tokens of the block that is decoded
COUNTED = 1 << 24  # tokens at a time


def open_store(target: str) -> TokenStore:
    """The store of a folder. Raises UserError where the folder is none."""
    folder = Path(target)
    if not (folder / MANIFEST).exists():
        raise UserError(
            f"{target} is no token store: it has no {MANIFEST}; name a folder that "
            "`minigpt prepare data=...` made, or data=... itself"
        )
    return TokenStore(folder)


def print_prepared(prepared: Prepared) -> None:
    """One line that says what there is now, and one for each thing worth knowing."""
    manifest = prepared.store.manifest
    documents, tokens = sum(manifest.documents.values()), sum(manifest.tokens.values())
    how = f"made in {prepared.seconds:.2f} s" if prepared.made else "up to date"
    print(f"{prepared.store.folder}: {documents:,} documents, {tokens:,} tokens, {how}")
    if manifest.duplicates or manifest.empty:
        print(f"left out: {manifest.duplicates:,} duplicates, {manifest.empty:,} empty documents")
    if prepared.max_tokens and manifest.tokens["train"] < prepared.max_tokens:
        print(
            f"the text ended at {manifest.tokens['train']:,} of data.max_tokens="
            f"{prepared.max_tokens:,}"
        )


def inspect(store: TokenStore, verify: bool) -> dict[str, Any]:
    """A store's figures, its most frequent tokens and the first block of its training text.

    Raises UserError where `verify` finds a shard that is not what was written.
    """
    manifest = store.manifest
    if verify and (damaged := store.verify()):
        names = ", ".join(map(str, damaged))
        raise UserError(f"damaged, its sha256 differs: {names}; delete {store.folder} and the "
                        "store is made again")  # fmt: skip
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
        "block": tokenizer.decode(store.tokens("train")[:SHOWN].tolist()),
        "fingerprint": manifest.fingerprint,
    }


def _count(store: TokenStore) -> NDArray[np.int64]:
    """(V) how often each id stands in the store."""
    counts = np.zeros(store.manifest.largest_id + 1, np.int64)
    for split in SPLITS:
        tokens = store.tokens(split)
        for start in range(0, len(tokens), COUNTED):
            counts += np.bincount(tokens[start : start + COUNTED], minlength=len(counts))
    return counts


def print_inspection(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    console = Console(highlight=False, emoji=False)
    verified = ", every shard's sha256 is right" if found["verified"] else ""
    console.print(Text(found["folder"], "bold"), soft_wrap=True)
    console.print(f"{found['tokenizer']} as {found['dtype']}{verified}\n")
    splits = _table("split", "documents", "tokens", "shards")
    for split in SPLITS:
        row = (found["documents"][split], found["tokens"][split], found["shards"][split])
        splits.add_row(split, *(f"{count:,}" for count in row))
    console.print(splits)
    domains = _table("domain", "documents", "tokens", "share")
    for name, domain in found["domains"].items():
        domains.add_row(Text(name), f"{domain['documents']:,}", f"{domain['tokens']:,}",
                        f"{domain['share']:.1%}")  # fmt: skip
    console.print(domains)
    top = _table("frequent token", "id", "share")
    for token in found["top_tokens"][:10]:
        top.add_row(Text(repr(token["text"])), str(token["id"]), f"{token['share']:.2%}")
    console.print(top)
    longest = found["longest"]
    console.print(
        f"left out: {found['duplicates']:,} duplicates, {found['empty']:,} empty documents\n"
        f"longest document: {longest['tokens']:,} tokens, {longest['name']}\n"
        f"{found['distinct_tokens']:,} distinct tokens, largest id {found['largest_id']:,}\n",
        markup=False,
    )
    console.print(f"The first {SHOWN} tokens to train on:\n")
    print(found["block"])


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table
