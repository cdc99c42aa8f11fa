"""The manifest of a token store: what it holds and where that came from, checked on reading."""

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from minigpt.errors import check_types
from minigpt.tokens.record_check import check_record
from minigpt.tokens.split import SPLITS
from minigpt.tokens.tokenizer import id_dtype

VERSION = 3
MANIFEST = "manifest.json"

# What the store carries of a tokenizer that no package has, by the first word of its name.
_TABLES = {"char": ["alphabet"], "bpe": ["merged"]}


@dataclass(frozen=True)
class Manifest:
    """What a store holds and where it came from."""

    version: int
    dtype: str
    tokens: dict[str, int]  # by split
    documents: dict[str, int]  # by split
    # by split, in order: size and sha256 of each shard and of its list of documents
    shards: dict[str, list[dict[str, Any]]]
    domains: dict[str, dict[str, int]]  # documents and tokens of each part of the corpus
    duplicates: int  # documents left out because the same text came before
    empty: int  # documents left out because they have no text
    longest: dict[str, Any]  # name and tokens of the longest document
    largest_id: int
    held_out: list[float]  # texts whose hash lies below these are test, then validation
    tokenizer: dict[str, Any]  # what `tokenizer.from_spec` takes
    text: str  # fingerprint of the source: sha256 of files, revisions of datasets
    fingerprint: str  # of the text, the tokenizer and the settings together

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"


def parse_manifest(content: dict[str, Any]) -> Manifest:
    """A manifest whose parts agree with each other.

    Raises AttributeError, KeyError, TypeError or ValueError where they do not.
    """
    if missing := {field.name for field in fields(Manifest)} ^ content.keys():
        raise ValueError(f"it lacks or adds {', '.join(sorted(missing))}")
    manifest = Manifest(**content)
    check_types("manifest", manifest)
    if manifest.shards.keys() != set(SPLITS):
        raise ValueError("it has other splits than train, val and test")
    for counts in (manifest.tokens, manifest.documents):
        check_record(counts, "a split", counts=SPLITS)
    for split in SPLITS:
        _check_shards(manifest.shards[split], split)
        if sum(shard["tokens"] for shard in manifest.shards[split]) != manifest.tokens[split]:
            raise ValueError(f"the shards of {split} do not add up to its tokens")
    for name, domain in manifest.domains.items():
        check_record(domain, f"domain {name}", counts=("documents", "tokens"))
    check_record(manifest.longest, "longest", texts=("name",), counts=("tokens",))
    counted = {"duplicates": manifest.duplicates, "empty": manifest.empty}
    check_record(counted, "it", counts=counted)
    if len(manifest.held_out) != 2 or not all(0 <= share <= 1 for share in manifest.held_out):
        raise ValueError("held_out is not two shares between 0 and 1")
    _check_tokenizer(manifest)
    return manifest


def _check_shards(shards: Any, split: str) -> None:
    if not isinstance(shards, list):
        raise ValueError(f"the shards of {split} are not a list")
    for shard in shards:
        place = f"a shard of {split}"
        check_record(shard, place, ("sha256", "list_sha256"), ("tokens", "list_bytes"))


def _check_tokenizer(manifest: Manifest) -> None:
    table = _TABLES.get(str(manifest.tokenizer.get("name")).partition("-")[0], [])
    texts = ("name", "fingerprint", *table)
    check_record(manifest.tokenizer, "tokenizer", texts, ("n_vocab",))
    if not 0 <= manifest.largest_id < manifest.tokenizer["n_vocab"]:
        raise ValueError("its largest id is outside its tokenizer's vocabulary")
    if manifest.dtype != id_dtype(manifest.tokenizer["n_vocab"] - 1).name:
        raise ValueError(f"its ids cannot be {manifest.dtype}")
