"""Documents -> token store, made once for each text, tokenizer and setting."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minigpt.errors import UserError, check_choice, check_positive, check_types
from minigpt.tokens.sources import SOURCES, SPLITS, Document
from minigpt.tokens.split import HeldOut, held_out, place
from minigpt.tokens.store import MANIFEST, VERSION, Manifest, TokenStore
from minigpt.tokens.tokenizer import CharTokenizer, Tokenizer, id_dtype, load_tokenizer

BATCH_CHARS = 1 << 20  # text handed to the tokenizer at a time: enough to keep every core busy


@dataclass(frozen=True)
class CorpusConfig:
    """Which text becomes which tokens; the keys of the `data` config group that name a store.

    Raises UserError, naming the key, on a wrong type or value.
    """

    source: str
    files: list[str]  # source=files only: paths and globs of UTF-8 text
    val_files: list[str]
    test_files: list[str]
    val_fraction: float  # of the documents, by the hash of their text
    test_fraction: float
    tokenizer: str
    document_tokens: int | None  # cut each document to this many tokens
    end_of_text: bool  # close each document with the tokenizer's <|endoftext|>
    root: str  # the folder that stores live under

    def __post_init__(self) -> None:
        check_types("data", self)
        check_choice("data.source", self.source, SOURCES)
        check_positive("data", self, "document_tokens")
        for name in ("val_fraction", "test_fraction"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"data.{name} must lie in [0, 1), got {getattr(self, name)}")
        if self.val_fraction + self.test_fraction >= 1:
            raise UserError("data.val_fraction + data.test_fraction leaves nothing to train on")

    def documents(self) -> Iterator[Document]:
        """The corpus, from its start."""
        if self.source == "files":
            return SOURCES["files"](self.files, self.val_files, self.test_files)
        return SOURCES[self.source]()


@dataclass(frozen=True)
class Survey:
    """What a first pass over the text tells."""

    tokenizer: Tokenizer
    held_out: HeldOut
    digest: str  # of every document and its split


def prepare(config: CorpusConfig) -> TokenStore:
    """The store of a corpus, made now unless it is there already.

    The folder is named by what is in it, so changed text, tokenizer or settings make another
    store and never meet a stale one. It is written beside its place and renamed when whole.
    """
    survey = _survey(config)
    settings = {
        "version": VERSION,
        "tokenizer": survey.tokenizer.fingerprint,
        "document_tokens": config.document_tokens,
        "end_of_text": config.end_of_text,
        "held_out": [survey.held_out.test, survey.held_out.val],
        "text": survey.digest,
    }
    fingerprint = hashlib.sha256(json.dumps(settings).encode()).hexdigest()
    folder = Path(config.root) / f"{config.source}-{survey.tokenizer.name}-{fingerprint[:16]}"
    if not (folder / MANIFEST).exists():
        _write(config, survey, fingerprint, folder)
    return TokenStore(folder)


def _survey(config: CorpusConfig) -> Survey:
    digest = hashlib.sha256()
    alphabet: set[str] = set()
    places = []
    for document in config.documents():
        content = document.text.encode("utf-8", "surrogatepass")
        digest.update(f"{document.split} {len(content)}\n".encode() + content)
        if config.tokenizer == "char":
            alphabet.update(document.text)
        if document.split is None and document.text:
            places.append(place(document.text))
    # A split with files of its own takes no others.
    val = 0.0 if config.val_files else config.val_fraction
    test = 0.0 if config.test_files else config.test_fraction
    tokenizer: Tokenizer = (
        CharTokenizer("".join(sorted(alphabet)))
        if config.tokenizer == "char"
        else load_tokenizer(config.tokenizer)
    )
    return Survey(tokenizer, held_out(places, val, test), digest.hexdigest())


def _write(config: CorpusConfig, survey: Survey, fingerprint: str, folder: Path) -> None:
    tokenizer = survey.tokenizer
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"data.root={config.root} cannot be made a folder: {error}") from None
    dtype = id_dtype(tokenizer.n_vocab - 1)
    tokens, documents, largest = dict.fromkeys(SPLITS, 0), dict.fromkeys(SPLITS, 0), 0
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        with ExitStack() as stack:
            out = {s: stack.enter_context((scratch / f"{s}.bin").open("wb")) for s in SPLITS}
            for batch in _batches(config.documents()):
                encoded = tokenizer.encode_batch([document.text for document in batch])
                for document, ids in zip(batch, encoded, strict=True):
                    ids = ids[: config.document_tokens]
                    if config.end_of_text and tokenizer.end_of_text is not None:
                        ids.append(tokenizer.end_of_text)
                    split = document.split or survey.held_out.split(document.text)
                    out[split].write(np.asarray(ids, dtype).tobytes())
                    tokens[split] += len(ids)
                    documents[split] += 1
                    largest = max(largest, max(ids, default=0))
            for file in out.values():
                file.flush()
                os.fsync(file.fileno())
        if not sum(tokens.values()):
            raise UserError(f"data.source={config.source}: the corpus is empty; it has no text")
        manifest = Manifest(
            VERSION, dtype.name, tokens, documents, largest, tokenizer.spec(), fingerprint
        )
        (scratch / MANIFEST).write_text(manifest.to_json(), "utf-8")
        try:
            scratch.rename(folder)
        except OSError:
            # Another process made the same store in the meantime: the same bytes, so use those.
            if not (folder / MANIFEST).exists():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _batches(documents: Iterator[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document.text)
        if size >= BATCH_CHARS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
