"""Where documents come from: the shipped sample, the standard library, files, the hub, a mixture.

None holds a corpus in memory.
"""

import ast
import glob
import importlib.resources
import logging
import random
import re
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from minigpt.errors import UserError
from minigpt.text.config import PartConfig, SourceConfig, TextConfig
from minigpt.text.readers import (
    BytesRead,
    Document,
    joined,
    kind,
    optional,
    read_texts,
    sections,
    text_of,
)

HELD_OUT_FIRST = ("val", "test", "train")

Sha256 = Callable[[Path], str]


@dataclass(frozen=True)
class Source:
    """Documents, in an order that is always the same, and what tells them from any others."""

    identity: list[str]  # sha256 of files, name and revision of datasets: the text, in short
    bytes: int | None  # of its files; None where they are elsewhere
    documents: Callable[[BytesRead], Iterator[Document]]


def open_source(config: TextConfig, sha256: Sha256) -> Source:
    """The source of a corpus; `sha256` gives a file's.

    Raises UserError on a missing file, an empty glob, a folder, or a hub that is out of reach.
    """
    if config.source == "mix":
        parts = config.parts()
        return mixture(
            [(part, _open(part, config.mix_seed, sha256)) for part in parts], config.mix_seed
        )
    return _open(config, config.mix_seed, sha256)


def _open(config: SourceConfig, seed: int, sha256: Sha256) -> Source:
    if config.source == "hub":
        return hub(config, seed, sha256)
    return {"sample": sample, "stdlib": stdlib, "files": files}[config.source](config, sha256)


def sample(config: SourceConfig, sha256: Sha256) -> Source:
    """The prose shipped with the project: ten subjects to learn, four others held out."""
    root = Path(str(importlib.resources.files("minigpt.text") / "sample"))
    paths = [(p, split) for split in HELD_OUT_FIRST for p in sorted((root / split).iterdir())]

    def documents(read: BytesRead) -> Iterator[Document]:
        for path, split in paths:
            yield Document(f"{split}/{path.name}", path.read_text("utf-8"), "sample", split)

    return _of_files([path for path, _ in paths], ["sample"], documents, sha256)


def stdlib(config: SourceConfig, sha256: Sha256) -> Source:
    """Code and documentation of the running Python's standard library, a document a module.

    Its tests are left out: they are half of the text and say little.
    """
    root = Path(sysconfig.get_path("stdlib"))
    left_out = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
    topics = root / "pydoc_data/topics.py"
    paths = [
        p for p in sorted(root.rglob("*.py")) if left_out.isdisjoint(p.relative_to(root).parts)
    ]

    def documents(read: BytesRead) -> Iterator[Document]:
        for path in paths:
            # A few modules keep another encoding on purpose.
            text = path.read_text("utf-8", errors="replace")
            read.count += path.stat().st_size
            if path != topics:
                yield Document(str(path.relative_to(root)), text, "code")
                continue
            for node in ast.parse(text).body:
                if isinstance(node, ast.Assign):
                    for topic, words in ast.literal_eval(node.value).items():
                        yield Document(f"pydoc topic {topic}", words, "documentation")

    return _of_files(paths, ["stdlib"], documents, sha256)


def files(config: SourceConfig, sha256: Sha256) -> Source:
    """The user's files: a document a text file, a JSON line or a row of Parquet.

    Those named under val_files and test_files go to their split; the rest are split by hash, save
    that a split with files of its own takes no others. A text file all alone is cut into sections.
    """
    section = config.section
    held_out = {
        "val": _expand(f"{section}.val_files", config.val_files),
        "test": _expand(f"{section}.test_files", config.test_files),
    }
    held = {path.resolve() for paths in held_out.values() for path in paths}
    named = _expand(f"{section}.files", config.files)
    own = [path for path in named if path.resolve() not in held]
    alone = len(own) == 1 and kind(own[0]) == "text"
    not_in = tuple(split for split, held_paths in held_out.items() if held_paths)
    # What is held out comes first, so that a duplicate of it is dropped from training.
    paths: list[tuple[Path, str | None]] = []
    for split, held_paths in held_out.items():
        paths += [(path, split) for path in held_paths]
    paths += [(path, None) for path in own]

    def documents(read: BytesRead) -> Iterator[Document]:
        for path, split in paths:
            domain = _domain(path)
            texts = read_texts(path, config.text_field, read)
            if alone and split is None:
                _, text = next(texts)
                pieces = [text] if isinstance(text, str) else text
                for i, part in enumerate(sections(pieces)):
                    yield Document(f"{path} section {i}", part, domain, not_in=not_in)
                continue
            if config.document_start is not None and kind(path) != "text":
                texts = joined(texts, config.document_start)
            for name, text in texts:
                yield Document(name, text, domain, split, not_in)

    reading = ["files", config.text_field, config.document_start or "", "alone" if alone else ""]
    kinds = [f"{kind(path)} {_domain(path)} {split}" for path, split in paths]
    return _of_files([path for path, _ in paths], reading + kinds, documents, sha256)


def hub(config: SourceConfig, seed: int, sha256: Sha256) -> Source:
    """A dataset of the Hugging Face hub, streamed, or a local folder laid out as one.

    Its files come in an order that the seed decides. Raises UserError where it cannot be reached.
    """
    name = config.hub_name
    assert name is not None
    splits = {"train": config.hub_train, "val": config.hub_val, "test": config.hub_test}
    not_in = tuple(split for split in ("val", "test") if splits[split] is not None)
    identity = ["hub", name, str(config.hub_config), str(config.hub_revision), str(splits)]
    identity += [config.text_field, str(config.document_start), str(seed)]
    if Path(name).is_dir():
        # With their names, which say what split a file belongs to.
        paths = [path for path in sorted(Path(name).rglob("*")) if path.is_file()]
        identity += [f"{path.relative_to(name)} {sha256(path)}" for path in paths]

    def documents(read: BytesRead) -> Iterator[Document]:
        # What is held out comes first, so that a duplicate of it is dropped from training.
        for split in HELD_OUT_FIRST:
            if splits[split] is not None:
                rows = _hub_rows(config, str(splits[split]), seed)
                texts: Iterator[tuple[str, Any]] = (
                    (place, text_of(row, config.text_field, place)) for place, row in rows
                )
                if config.document_start is not None:
                    texts = joined(texts, config.document_start)
                for place, text in texts:
                    yield Document(place, text, name, None if split == "train" else split, not_in)

    return Source(identity, None, documents)


def _hub_rows(config: SourceConfig, split: str, seed: int) -> Iterator[tuple[str, dict[str, Any]]]:
    datasets = optional("datasets", f"{config.section}.source=hub")
    datasets.disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it tells of every retry
    number = 0
    try:
        rows = datasets.load_dataset(
            config.hub_name,
            config.hub_config,
            split=split,
            revision=config.hub_revision,
            streaming=True,
        )
        files = list(range(rows.num_shards))
        if config.document_start is None:  # rows that belong together keep their places
            random.Random(seed).shuffle(files)
        for file in files:
            for row in rows.shard(num_shards=rows.num_shards, index=file):
                number += 1
                yield f"{config.hub_name} {split} row {number}", row
    except UserError:
        raise
    # Whatever a network, a hub and a dataset's layout can raise; there is no common class.
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise UserError(
            f"{config.section}.source=hub: split {split} of {config.hub_name} could not be read "
            f"after {number} rows ({type(error).__name__}: {reason}); tried the Hugging Face hub "
            "and its local cache; data=files (text, JSON lines, Parquet), data=stdlib and "
            "data=sample work offline"
        ) from None


def mixture(parts: Sequence[tuple[PartConfig, Source]], seed: int) -> Source:
    """Documents of several sources, each with its weight's share of the text.

    What sources name as held out comes first, whole. The next document is then always of the
    source that is furthest behind its share, so the shares hold at every point to within a
    document; the seed decides who starts. The mixture ends with the first source that ends, since
    its share could not be held any longer.
    """
    identity = [f"mix {seed}"]
    for part, source in parts:
        identity += [f"{part.name} {part.weight}", *source.identity]
    sizes = [source.bytes for _, source in parts]

    def documents(read: BytesRead) -> Iterator[Document]:
        streams = [source.documents(read) for _, source in parts]
        first: list[Document | None] = []  # of each to be mixed
        for (part, _), stream in zip(parts, streams, strict=True):
            document = next(stream, None)
            while document is not None and document.split in ("val", "test"):
                yield replace(document, domain=part.name)
                document = next(stream, None)
            first.append(document)
        start = random.Random(seed)
        done = [start.random() / part.weight for part, _ in parts]  # characters over weight
        while True:
            i = done.index(min(done))
            part, stream = parts[i][0], streams[i]
            document, first[i] = first[i] or next(stream, None), None
            if document is None:
                return
            counted = _Counted(document.pieces())
            text = document.text if isinstance(document.text, str) else iter(counted)
            yield replace(document, domain=part.name, text=text)
            chars = len(text) if isinstance(text, str) else counted.chars
            done[i] += max(1, chars) / part.weight

    known = [size for size in sizes if size is not None]
    return Source(identity, sum(known) if len(known) == len(sizes) else None, documents)


class _Counted:
    """Pieces, and how long those read so far are together."""

    def __init__(self, pieces: Iterator[str]) -> None:
        self._pieces = pieces
        self.chars = 0

    def __iter__(self) -> Iterator[str]:
        for piece in self._pieces:
            self.chars += len(piece)
            yield piece


def _of_files(
    paths: Sequence[Path],
    reading: list[str],
    documents: Callable[[BytesRead], Iterator[Document]],
    sha256: Sha256,
) -> Source:
    identity = reading + [sha256(path) for path in paths]
    return Source(identity, sum(path.stat().st_size for path in paths), documents)


def _domain(path: Path) -> str:
    """The part of a corpus that a file belongs to: its name less endings and a shard's number."""
    if kind(path) == "text":
        return path.parent.name or "text"
    name = re.sub(r"(\.(jsonl|ndjson|json|parquet|gz|xz|zst))+$", "", path.name)
    return re.sub(r"[-_.]\d+([-_]of[-_]\d+)?$", "", name)


def _expand(key: str, patterns: Sequence[str]) -> list[Path]:
    paths: dict[Path, None] = {}  # in order, each once
    for pattern in patterns:
        found = [] if Path(pattern).exists() else sorted(glob.glob(pattern, recursive=True))
        if not found and glob.has_magic(pattern) and not Path(pattern).exists():
            raise UserError(f"{key}: no file matches {pattern!r} (relative to {Path.cwd()})")
        for path in map(Path, found or [pattern]):
            if path.is_dir():
                if glob.has_magic(pattern):
                    continue
                raise UserError(f"{key}: {path} is a folder; name its files: {path}/*.txt")
            if not path.exists():
                raise UserError(f"{key}: no such file: {path} (relative to {Path.cwd()})")
            paths[path] = None
    if patterns and not paths:
        raise UserError(f"{key}: {', '.join(patterns)} matches folders only; name files in them")
    return list(paths)
