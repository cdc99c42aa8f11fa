"""Documents -> the files of a token store, in parts that survive a kill.

Parts end at the same documents however often a preparation is stopped, so one that is continued
writes the same bytes.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minigpt.atomic_file import explain_disk_errors, write_file
from minigpt.text.document import Document
from minigpt.tokens.document_list import document_line
from minigpt.tokens.durable import DISK_WAY_OUT, DurableFile, LongDocument, Shard
from minigpt.tokens.manifest import MANIFEST, Manifest
from minigpt.tokens.parts import Part, delete_records, finished_parts, write_record
from minigpt.tokens.pipeline import Piece
from minigpt.tokens.seen_texts import SeenTexts
from minigpt.tokens.sharded import Ids, document_list_path, shard_path
from minigpt.tokens.split import SPLITS, Digest, HeldOut, split_of
from minigpt.tokens.subset import Subset
from minigpt.tokens.tokenizer import Tokenizer, id_dtype

PART_TOKENS = 1 << 24  # a part ends with the document that brings it to this size

Progress = Callable[[int, int], None]  # characters of text and training tokens so far


@dataclass(frozen=True)
class Recipe:
    """How documents become ids."""

    tokenizer: Tokenizer
    held_out: HeldOut
    document_tokens: int | None
    end_of_text: bool
    max_tokens: int | None
    subset: Subset


def write_parts(
    pieces: Callable[[int], Generator[list[Piece]]],
    recipe: Recipe,
    folder: Path,
    progress: Progress,
    check_source: Callable[[], None],
) -> list[Part]:
    """Writes every part that a folder lacks, and returns the records of all.

    pieces: the tokenized documents in order, in batches, given how many of them at the start
    finished parts hold. `check_source` is called before a part counts as finished; it raises if
    the text has changed.
    Raises UserError if the disk refuses. Finished parts stay, and the next call goes on from them.
    """
    dtype = id_dtype(recipe.tokenizer.n_vocab - 1)
    with explain_disk_errors(folder, DISK_WAY_OUT):
        folder.mkdir(parents=True, exist_ok=True)
        parts = finished_parts(folder, dtype.itemsize)
        writer = _Writer(recipe, folder, parts, check_source)
    skip = parts[-1].read if parts else 0
    try:
        with closing(pieces(skip)) as batches:
            for batch in batches:
                with explain_disk_errors(folder, DISK_WAY_OUT):
                    if not all(map(writer.take, batch)):
                        break
                progress(writer.chars, writer.train_tokens)
        with explain_disk_errors(folder, DISK_WAY_OUT):
            writer.end_part()
    finally:
        writer.close()
    return parts


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Writes the last file of a store, which makes it one, and deletes the records of its parts."""
    with explain_disk_errors(folder, DISK_WAY_OUT):
        write_file(folder / MANIFEST, manifest.to_json(), DISK_WAY_OUT)
        delete_records(folder)


class _Writer:
    """Takes pieces in order, decides which documents stay and in which split, and writes them."""

    def __init__(
        self, recipe: Recipe, folder: Path, parts: list[Part], check_source: Callable[[], None]
    ) -> None:
        self.recipe = recipe
        self.folder = folder
        self.parts = parts
        self.check_source = check_source
        self.dtype = id_dtype(recipe.tokenizer.n_vocab - 1)
        end = recipe.tokenizer.end_of_text
        self.end = None if end is None or not recipe.end_of_text else np.array([end], self.dtype)
        # Those that the subset leaves out count, too: max_tokens ends the text of every subset.
        self.train_tokens = sum(p.tokens["train"] + p.left_out["tokens"] for p in parts)
        self.chars = 0
        self.read = 0
        self.seen = SeenTexts()
        self.long: LongDocument | None = None
        self.part = Part()
        self.shards: dict[str, Shard] = {}
        self.lists: dict[str, DurableFile] = {}

    def take(self, piece: Piece) -> bool:
        """Takes one more piece; False once the training split has max_tokens."""
        self.chars += piece.chars
        if not piece.alone and piece.ids is not None:
            self.long = self.long or LongDocument(self.folder, self.dtype)
            self.long.add(piece.ids)
        if piece.whole is None:  # not the document's last piece
            return True
        self.read += 1
        if piece.ids is None:
            if piece.whole.chars and not piece.document.planted:
                self.seen.add(piece.whole.key)
        else:
            self._document(piece.document, piece.whole, piece.ids)
        if self.long is not None:
            self.long.close()
            self.long = None
        if sum(self.part.tokens.values()) >= PART_TOKENS:
            self.end_part()
        return self.train_tokens != self.recipe.max_tokens

    def _document(self, document: Document, whole: Digest, ids: Ids) -> None:
        """Writes a document, unless it is empty or a duplicate.

        ids: those of the whole document; of a long one they are on disk, and these are ignored.
        """
        part = self.part
        if not whole.chars:
            part.empty += 1
            return
        if not document.planted and not self.seen.add(whole.key):
            part.duplicates += 1
            return
        split = split_of(document, whole, self.recipe.held_out)
        in_subset = split != "train" or document.planted or self.recipe.subset.holds(whole)
        # A canary that was cut would lose its random part.
        limit = None if document.planted else self.recipe.document_tokens
        count = 0
        for piece in self._trimmed([ids] if self.long is None else self.long.ids(), split, limit):
            if in_subset:
                self._shard(split).write(piece.data)
            count += len(piece)
        if split == "train":
            self.train_tokens += count
        if not in_subset:
            part.left_out["documents"] += 1
            part.left_out["tokens"] += count
            return
        if document.planted and count == len(ids) + (self.end is not None):
            part.planted += 1
        name, domain_name = _printable(document.name), _printable(document.domain)
        self._list(split).write(document_line(name, domain_name, count))
        part.tokens[split] += count
        part.documents[split] += 1
        if domain_name not in part.domains:
            part.domains[domain_name] = {"documents": 0, "tokens": 0}
        domain = part.domains[domain_name]
        domain["documents"] += 1
        domain["tokens"] += count
        if count > part.longest["tokens"]:
            part.longest = {"name": name, "tokens": count}

    def _trimmed(self, pieces: Iterable[Ids], split: str, left: int | None) -> Iterator[Ids]:
        """The ids of a document, cut to `left` and to max_tokens, and its end of text."""
        recipe = self.recipe
        room = None
        if recipe.max_tokens is not None and split == "train":
            room = recipe.max_tokens - self.train_tokens
        for ids in pieces:
            for limit in (left, room):
                ids = ids[:limit]
            left = None if left is None else left - len(ids)
            room = None if room is None else room - len(ids)
            yield ids
        if self.end is not None and room != 0:
            yield self.end

    def _shard(self, split: str) -> Shard:
        if split not in self.shards:
            self.shards[split] = Shard(shard_path(self.folder, split, len(self.parts)), self.dtype)
        return self.shards[split]

    def _list(self, split: str) -> DurableFile:
        if split not in self.lists:
            path = document_list_path(self.folder, split, len(self.parts))
            self.lists[split] = DurableFile(path)
        return self.lists[split]

    def end_part(self) -> None:
        """Puts what was written since the last part on disk, its record last."""
        self.check_source()
        part, self.part = self.part, Part()
        part.read = self.read
        if part.read <= (self.parts[-1].read if self.parts else 0):
            return
        for split in SPLITS:
            shard = self._shard(split)
            part.sha256[split] = shard.finish()
            part.largest_id = max(part.largest_id, shard.largest_id)
            documents = self._list(split)
            sha256 = documents.finish()
            part.lists[split] = {"bytes": documents.size, "sha256": sha256}
        write_record(part, self.folder, len(self.parts))
        self.parts.append(part)
        self.shards = {}
        self.lists = {}

    def close(self) -> None:
        """Deletes what is half-written."""
        if self.long is not None:
            self.long.close()
        for file in (*self.shards.values(), *self.lists.values()):
            file.discard()


def _printable(name: str) -> str:
    """A file's name may hold bytes that are not UTF-8."""
    return name if name.isascii() else name.encode("utf-8", "backslashreplace").decode()
