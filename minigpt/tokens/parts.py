"""The parts of a store that is being made: their records, and which of them are finished.

A part is a shard and a list of documents for each split, and a record of what they hold, written
last.
"""

import json
import re
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from minigpt.atomic_file import write_file
from minigpt.json_text import parse_json
from minigpt.ordinary_file import read_text
from minigpt.tokens.durable import DISK_WAY_OUT
from minigpt.tokens.record_check import check_record
from minigpt.tokens.sharded import document_list_path, shard_path
from minigpt.tokens.split import SPLITS

# Of every file that a preparation writes.
FILES = re.compile(
    r"\.?((train|val|test)-\d{5,}\.(bin|jsonl)|part-\d{5,}\.json|manifest\.json)(\.partial)?"
    r"|long-document\.partial"
)


@dataclass
class Part:
    """What a part holds."""

    read: int = 0  # documents of the corpus up to the end of the part, left out or not
    tokens: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    documents: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    sha256: dict[str, str] = field(default_factory=dict)
    lists: dict[str, dict[str, Any]] = field(default_factory=dict)  # bytes and sha256 by split
    domains: dict[str, dict[str, int]] = field(default_factory=dict)
    duplicates: int = 0
    planted: int = 0  # whole copies of canaries
    # what the subset leaves out of the training split
    left_out: dict[str, int] = field(default_factory=lambda: {"documents": 0, "tokens": 0})
    empty: int = 0
    longest: dict[str, Any] = field(default_factory=lambda: {"name": "", "tokens": 0})
    largest_id: int = 0


def write_record(part: Part, folder: Path, number: int) -> None:
    """Makes a part count as finished; its shards are on disk already."""
    write_file(_record_path(folder, number), json.dumps(asdict(part)), DISK_WAY_OUT)


def delete_records(folder: Path) -> None:
    """Once there is a manifest, the records are not needed any more.

    The first is deleted last, so that a start after a kill sees at once whether some are left.
    """
    if not _record_path(folder, 0).exists():
        return
    with suppress(OSError):  # they do no harm
        for path in sorted(folder.glob("part-*.json"), reverse=True):
            path.unlink(missing_ok=True)


def has_finished_parts(folder: Path) -> bool:
    return any(folder.glob("*.json"))


def finished_parts(folder: Path, itemsize: int) -> list[Part]:
    """The records of the parts that an earlier start finished.

    All other files of stores are deleted; what no preparation writes stays.
    """
    parts: list[Part] = []
    keep = set()
    while (path := _record_path(folder, len(parts))).exists():
        shards = {split: shard_path(folder, split, len(parts)) for split in SPLITS}
        lists = {split: document_list_path(folder, split, len(parts)) for split in SPLITS}
        try:
            part = Part(**parse_json(read_text(path)))
            _check(part)
            sizes = {
                **{path: part.tokens[split] * itemsize for split, path in shards.items()},
                **{path: part.lists[split]["bytes"] for split, path in lists.items()},
            }
        except (KeyError, TypeError, ValueError):
            break  # a broken record: this part and those after it are made again
        if any(not file.exists() or file.stat().st_size != size for file, size in sizes.items()):
            break
        keep |= {path, *sizes}
        parts.append(part)
    for path in folder.iterdir():
        if path not in keep and FILES.fullmatch(path.name):
            path.unlink()
    return parts


def _check(part: Part) -> None:
    """Raises ValueError unless a record that was read has the types that were written."""
    numbers = {name: getattr(part, name) for name in ("read", "duplicates", "planted", "empty",
                                                      "largest_id")}  # fmt: skip
    check_record(numbers, "it", counts=numbers)
    for counts in (part.tokens, part.documents):
        check_record(counts, "a split", counts=SPLITS)
    check_record(part.sha256, "sha256", texts=SPLITS)
    check_record(part.lists, "lists")
    for split in SPLITS:
        check_record(part.lists[split], "a list", texts=("sha256",), counts=("bytes",))
    check_record(part.domains, "domains")
    for name, domain in part.domains.items():
        check_record(domain, name, counts=("documents", "tokens"))
    check_record(part.left_out, "left_out", counts=("documents", "tokens"))
    check_record(part.longest, "longest", texts=("name",), counts=("tokens",))


def _record_path(folder: Path, number: int) -> Path:
    return folder / f"part-{number:05}.json"
