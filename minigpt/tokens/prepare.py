"""Makes the token store of a corpus, or finds the one that was made before."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minigpt.errors import UserError
from minigpt.text.file_digests import FileDigests, TextChangedError
from minigpt.text.opening import BytesRead
from minigpt.text.paths import is_url, user_path
from minigpt.text.source import Source
from minigpt.tokens.choose_tokenizer import (
    check_store_tokenizer,
    note_other_origin,
    ready_tokenizer,
    tokenizer_of_text,
)
from minigpt.tokens.config import CorpusConfig
from minigpt.tokens.making import making
from minigpt.tokens.manifest import MANIFEST, VERSION, Manifest
from minigpt.tokens.object_store import RemoteFolder
from minigpt.tokens.open_text import open_text
from minigpt.tokens.parts import Part, delete_records, has_finished_parts
from minigpt.tokens.pipeline import Piece, tokenized_here
from minigpt.tokens.planting import plant, planting_problem
from minigpt.tokens.progress import PreparationBar
from minigpt.tokens.ranges import Job, divide
from minigpt.tokens.split import SPLITS
from minigpt.tokens.store import TokenStore, open_remote_store
from minigpt.tokens.survey import characters_tokenizer, held_out_rule
from minigpt.tokens.tokenizer import Tokenizer, id_dtype
from minigpt.tokens.writer import Recipe, write_manifest, write_parts

if TYPE_CHECKING:
    from minigpt.tokens.engines import EngineConfig


@dataclass(frozen=True)
class Prepared:
    """A store, and what it took to have it."""

    store: TokenStore
    made: bool  # by this call; False: it was there already
    seconds: float
    max_tokens: int | None  # as the configuration asks


def prepare(
    config: CorpusConfig,
    tokenizer: Tokenizer | None = None,
    engine: "EngineConfig | None" = None,
    *,
    uploads: bool = True,
) -> Prepared:
    """The store of a corpus. It is made if it is not there yet.

    tokenizer: makes the ids in place of the one that the configuration names.
    engine: what runs workers that tokenize the text; None: this process does.
    uploads: whether a new store is put at the URL of data.root, or only used here.
    The folder's name is a fingerprint of text, tokenizer and settings, so that a change of any
    makes another store. The manifest is written last. A preparation that was stopped goes on from
    its finished parts; if two processes need the same store, one makes it and the other waits.
    With source store, the store that `files` names is opened as it is.
    Raises UserError if the text cannot be read or the store not be written.
    """
    started = time.perf_counter()
    if config.source == "store":
        store = _open_named(config)
        if tokenizer is None:
            check_store_tokenizer(config, store.manifest)
        return Prepared(store, False, time.perf_counter() - started, None)
    assert config.tokenizer is not None  # checked: only a store has its own
    is_named = tokenizer is None
    tokenizer = tokenizer or ready_tokenizer(config.tokenizer)
    root, digests, source = open_text(config)
    tokenizer = tokenizer or tokenizer_of_text(config, source, digests, root)
    planted = plant(config, source, tokenizer.n_vocab if tokenizer else None)
    fingerprint = _fingerprint(config, planted, tokenizer)
    name = tokenizer.name if tokenizer else config.tokenizer
    folder = root / f"{config.source}-{name}-{fingerprint[:16]}"
    remote = RemoteFolder(f"{config.root}/{folder.name}") if is_url(config.root) else None
    if remote is not None and remote.has(MANIFEST):
        store = _open_remote(config, remote.url)
        return Prepared(store, False, time.perf_counter() - started, config.max_tokens)
    made = False
    if not (folder / MANIFEST).exists():
        with making("store", folder, folder / MANIFEST):
            if not (folder / MANIFEST).exists():
                if is_named:
                    note_other_origin(config, source)
                _make(config, source, planted, digests, tokenizer, fingerprint, folder, engine)
                made = True
    # Here, since a start may be killed after it wrote the manifest.
    delete_records(folder)
    shutil.rmtree(_ranges(folder), ignore_errors=True)
    if remote is not None and uploads:
        remote.upload(folder)
    return Prepared(TokenStore(folder), made, time.perf_counter() - started, config.max_tokens)


def _open_named(config: CorpusConfig) -> TokenStore:
    """The store that `files` names."""
    place = config.files[0]
    if is_url(place):
        return _open_remote(config, place)
    folder = user_path(place)
    if not (folder / MANIFEST).is_file():
        raise UserError(
            f"{folder / MANIFEST} is missing or broken, so data.files=[{place}] is not a token "
            "store; name a folder that `minigpt prepare` made"
        )
    return TokenStore(folder)


def _open_remote(config: CorpusConfig, url: str) -> TokenStore:
    return open_remote_store(url, user_path(config.cache), config.cache_bytes)


def _fingerprint(config: CorpusConfig, source: Source, tokenizer: Tokenizer | None) -> str:
    settings = {
        "version": VERSION,
        "tokenizer": tokenizer.fingerprint if tokenizer else "the text's characters",
        "document_tokens": config.document_tokens,
        "end_of_text": config.end_of_text,
        "max_tokens": config.max_tokens,
        "val_fraction": config.val_fraction,
        "test_fraction": config.test_fraction,
        "text": source.identity,
    }
    if not config.chosen.is_all:
        settings["subset"] = asdict(config.chosen)
    return _sha256(settings)


def _sha256(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _make(
    config: CorpusConfig,
    source: Source,
    planted: Source,
    digests: FileDigests,
    tokenizer: Tokenizer | None,
    fingerprint: str,
    folder: Path,
    engine: "EngineConfig | None",
) -> None:
    """Reads the text and writes a store's files.

    planted: the source with its canaries, of which the rule that holds out knows nothing.
    Finished parts stay if this is stopped, but nothing stays if the text changed meanwhile or
    cannot be trained on.
    """
    ranges = _ranges(folder)
    try:
        with PreparationBar(source.bytes, config.max_tokens) as bar:
            recipe = Recipe(
                tokenizer or characters_tokenizer(config, source),
                held_out_rule(config, source),
                config.document_tokens,
                config.end_of_text,
                config.max_tokens,
                config.chosen,
            )
            pieces = _pieces(config, planted, recipe.tokenizer, bar.read, ranges, engine)
            parts = write_parts(pieces, recipe, folder, bar.update, digests.check_unchanged)
        problem = planting_problem(config, parts) or _untrainable(config, parts)
        if problem is not None:
            shutil.rmtree(folder)
            raise UserError(problem)
        write_manifest(_manifest(parts, recipe, _sha256(planted.identity), fingerprint), folder)
    except TextChangedError:
        shutil.rmtree(folder)
        shutil.rmtree(ranges, ignore_errors=True)
        raise
    finally:
        if folder.is_dir() and not has_finished_parts(folder):
            shutil.rmtree(folder)


def _ranges(folder: Path) -> Path:
    """Where workers leave what a store is made of."""
    return folder.with_name(f".{folder.name}.ranges").resolve()


def _pieces(
    config: CorpusConfig,
    source: Source,
    tokenizer: Tokenizer,
    read: BytesRead,
    ranges: Path,
    engine: "EngineConfig | None",
) -> Callable[[int], Generator[list[Piece]]]:
    """What makes the tokenized documents of a source, in order, without the first so many."""
    dtype = id_dtype(tokenizer.n_vocab - 1)
    if engine is None:
        encode = tokenizer.batch_encoder()
        return lambda skip: tokenized_here(source.documents(read), encode, dtype, skip)
    # Imported only now, since few preparations need it.
    from minigpt.tokens.engines import tokenized_by_workers

    keys = {field.name: getattr(config, field.name) for field in fields(CorpusConfig)}
    sizes = [part.bytes for part in source.divided()]
    job = Job(keys, tokenizer.spec(), source.identity, divide(sizes))
    return lambda skip: tokenized_by_workers(engine, job, ranges, dtype, skip, read)


def _untrainable(config: CorpusConfig, parts: list[Part]) -> str | None:
    """Why there is no document to train on, and the way out; None if there is one."""
    documents = {split: sum(part.documents[split] for part in parts) for split in SPLITS}
    documents["train"] -= sum(part.planted for part in parts)
    left_out = sum(part.left_out["documents"] for part in parts)
    if not documents["train"] and left_out:
        return (
            f"data.subset: none of the {left_out:,} training documents is in it; raise "
            "data.subset.fraction, or choose another data.subset.seed"
        )
    if not any(documents.values()):
        return f"data.source={config.source}: the corpus is empty; it has no text"
    if not documents["train"]:
        held_out = ", ".join(f"{split} {documents[split]:,}" for split in ("val", "test"))
        return (
            f"data.source={config.source}: every document is held out ({held_out}), none is left "
            "to train on; give more text, name less in data.val_files and data.test_files, or "
            f"lower data.val_fraction={config.val_fraction} and data.test_fraction="
            f"{config.test_fraction}"
        )
    return None


def _manifest(parts: list[Part], recipe: Recipe, text: str, fingerprint: str) -> Manifest:
    """The manifest of a store made of these parts."""
    dtype = id_dtype(recipe.tokenizer.n_vocab - 1)
    domains: dict[str, dict[str, int]] = {}
    for part in parts:
        for name, counts in part.domains.items():
            domain = domains.setdefault(name, dict.fromkeys(counts, 0))
            for key, count in counts.items():
                domain[key] += count
    return Manifest(
        version=VERSION,
        dtype=dtype.name,
        tokens={split: sum(part.tokens[split] for part in parts) for split in SPLITS},
        documents={split: sum(part.documents[split] for part in parts) for split in SPLITS},
        shards={
            split: [
                {
                    "tokens": p.tokens[split],
                    "sha256": p.sha256[split],
                    "list_bytes": p.lists[split]["bytes"],
                    "list_sha256": p.lists[split]["sha256"],
                }
                for p in parts
            ]
            for split in SPLITS
        },
        domains=domains,
        duplicates=sum(part.duplicates for part in parts),
        empty=sum(part.empty for part in parts),
        longest=max((part.longest for part in parts), key=lambda longest: longest["tokens"]),
        largest_id=max(part.largest_id for part in parts),
        held_out=[recipe.held_out.test, recipe.held_out.val],
        tokenizer=recipe.tokenizer.spec(),
        text=text,
        fingerprint=fingerprint,
    )
