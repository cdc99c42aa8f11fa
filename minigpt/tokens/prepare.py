"""A corpus's token store: found by what is in it, made where it is missing."""

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from minigpt.errors import UserError
from minigpt.text.file_digests import FileDigests
from minigpt.text.readers import BytesRead
from minigpt.text.sources import Source, open_source
from minigpt.tokens.config import CorpusConfig
from minigpt.tokens.progress import PreparationBar
from minigpt.tokens.split import SPLITS, Digest, HeldOut, held_out
from minigpt.tokens.store import MANIFEST, VERSION, Manifest, TokenStore
from minigpt.tokens.tokenizer import CharTokenizer, Tokenizer, id_dtype, load_tokenizer
from minigpt.tokens.writer import Part, Recipe, write_manifest, write_parts

# In a corpus of fewer documents than this a split can come out empty; its share is then widened.
FEW_DOCUMENTS = 1_000


@dataclass(frozen=True)
class Prepared:
    """A store, and what it took to have it."""

    store: TokenStore
    made: bool  # now; not found as it was
    seconds: float
    max_tokens: int | None  # what was asked for


def prepare(config: CorpusConfig) -> Prepared:
    """The store of a corpus, made now unless it is there already.

    The folder is named by what is in it, so changed text, tokenizer or settings make another
    store and never meet a stale one. Its manifest is written last. A preparation that was stopped
    goes on from its finished parts; of two that make the same store one waits for the other.
    Source store is one made before, opened without its text.
    Raises UserError where the text cannot be read or the store not be written.
    """
    started = time.perf_counter()
    if config.source == "store":
        store = TokenStore(Path(config.files[0]))
        return Prepared(store, False, time.perf_counter() - started, None)
    root = Path(config.root)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"data.root={config.root} cannot be made a folder: {error}") from None
    tokenizer = None if config.tokenizer == "char" else load_tokenizer(config.tokenizer)
    with FileDigests(root / "digests.json") as digests:
        source = open_source(config, digests.sha256)
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
    fingerprint = _sha256(settings)
    folder = root / f"{config.source}-{config.tokenizer}-{fingerprint[:16]}"
    made = False
    if not (folder / MANIFEST).exists():
        with _alone(root / f".{folder.name}.lock", folder):
            if not (folder / MANIFEST).exists():
                _make(config, source, tokenizer, fingerprint, folder)
                made = True
    return Prepared(TokenStore(folder), made, time.perf_counter() - started, config.max_tokens)


def _sha256(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


@contextmanager
def _alone(lock: Path, folder: Path) -> Iterator[None]:
    """Keeps other processes from making the same store; a killed one leaves no lock behind."""
    held = FileLock(lock)
    try:
        held.acquire(blocking=False)
    except Timeout:
        print(f"{folder}: another process is making this store; waiting", file=sys.stderr)
        held.acquire()
    except OSError as error:
        raise UserError(f"cannot write {lock.parent}: {error.strerror}; set data.root") from None
    try:
        yield
    finally:
        held.release()
        if (folder / MANIFEST).exists():  # whoever waits for the lock looks there next
            lock.unlink(missing_ok=True)


def _make(
    config: CorpusConfig,
    source: Source,
    tokenizer: Tokenizer | None,
    fingerprint: str,
    folder: Path,
) -> None:
    try:
        with PreparationBar(source.bytes, config.max_tokens) as bar:
            tokenizer, rule = _survey(config, source, tokenizer)
            recipe = Recipe(
                tokenizer, rule, config.document_tokens, config.end_of_text, config.max_tokens
            )
            parts = write_parts(source.documents(bar.read), recipe, folder, bar.update)
        if not any(sum(part.tokens.values()) for part in parts):
            shutil.rmtree(folder)
            raise UserError(f"data.source={config.source}: the corpus is empty; it has no text")
        write_manifest(_manifest(parts, recipe, _sha256(source.identity), fingerprint), folder)
    finally:
        if folder.is_dir() and not any(folder.glob("*.json")):  # no part is worth keeping
            shutil.rmtree(folder)


def _survey(
    config: CorpusConfig, source: Source, tokenizer: Tokenizer | None
) -> tuple[Tokenizer, HeldOut]:
    """What has to be known of the text before its first document can be placed.

    That is the first documents' hashes and, where the tokenizer is made from it, its alphabet.
    """
    alphabet: set[str] = set()
    places: list[float] = []
    documents = source.documents(BytesRead())
    count = chars = 0
    for document in documents if tokenizer is None else islice(documents, FEW_DOCUMENTS):
        count += 1
        whole = Digest()
        for piece in document.pieces():
            if tokenizer is None:
                alphabet.update(piece)
            if count <= FEW_DOCUMENTS:
                whole.update(piece)
        # What lies behind max_tokens, at some four characters each, will not be there to hold out.
        inside = config.max_tokens is None or chars < 4 * config.max_tokens
        if document.split is None and whole.chars and inside:
            places.append(whole.place)
            chars += whole.chars
    if tokenizer is None:
        tokenizer = CharTokenizer("".join(sorted(alphabet)))
    if count >= FEW_DOCUMENTS:
        places = []
    return tokenizer, held_out(places, config.val_fraction, config.test_fraction)


def _manifest(parts: list[Part], recipe: Recipe, text: str, fingerprint: str) -> Manifest:
    """The records of all parts, as one."""
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
            split: [{"tokens": p.tokens[split], "sha256": p.sha256[split]} for p in parts]
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
