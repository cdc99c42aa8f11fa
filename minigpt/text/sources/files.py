"""The user's files: text, JSON, CSV and Parquet."""

import copy
from collections.abc import Iterator
from pathlib import Path

from minigpt.text.config import SourceConfig
from minigpt.text.document import Document
from minigpt.text.file_digests import FileDigests
from minigpt.text.formats import bare_name, check_ending, file_format
from minigpt.text.opening import BytesRead
from minigpt.text.paths import expand
from minigpt.text.readers.read import read_texts
from minigpt.text.readers.records import joined
from minigpt.text.sections import sections
from minigpt.text.source import Source, total_size


class FilesSource(Source):
    """One document a text file, or a record of a file of records.

    The files of val_files and test_files go to their split. The hash of the text splits the
    others, but a split with files of its own takes none of them. A single text file is cut into
    sections, so that some of it can be held out.
    """

    def __init__(self, config: SourceConfig, digests: FileDigests) -> None:
        self._config = config
        held_out = {
            "val": expand(f"{config.section}.val_files", config.val_files),
            "test": expand(f"{config.section}.test_files", config.test_files),
        }
        held = {path.resolve() for paths in held_out.values() for path in paths}
        named = expand(f"{config.section}.files", config.files)
        others = [path for path in named if path.resolve() not in held]
        self._in_sections = len(others) == 1 and file_format(others[0]) == "text"
        self._not_in = tuple(split for split, paths in held_out.items() if paths)
        self._paths: list[tuple[Path, str | None]] = []
        for split, paths in held_out.items():
            self._paths += [(path, split) for path in paths]
        self._paths += [(path, None) for path in others]
        for path, _ in self._paths:
            check_ending(path)
        self.identity = ["files", config.text_field, config.document_start or ""]
        self.identity.append("alone" if self._in_sections else "")
        self.identity += [f"{file_format(p)} {_domain(p)} {split}" for p, split in self._paths]
        self.identity += [digests.sha256(path) for path, _ in self._paths]
        self.bytes = total_size(path for path, _ in self._paths)

    def documents(self, read: BytesRead) -> Iterator[Document]:
        for path, split in self._paths:
            domain = _domain(path)
            texts = read_texts(path, self._config.text_field, read)
            if self._in_sections and split is None:
                _, text = next(texts)
                pieces = [text] if isinstance(text, str) else text
                for i, part in enumerate(sections(pieces)):
                    name = f"{path} section {i}"
                    yield Document(name, part, domain, not_in=self._not_in)
                continue
            if self._config.document_start is not None and file_format(path) != "text":
                texts = joined(texts, self._config.document_start)
            for name, text in texts:
                yield Document(name, text, domain, split, self._not_in)

    def divided(self) -> list[Source]:
        """One source a file."""
        parts: list[Source] = []
        for path, split in self._paths:
            part = copy.copy(self)
            part._paths, part.bytes = [(path, split)], path.stat().st_size
            parts.append(part)
        return parts


def _domain(path: Path) -> str:
    """The part of the corpus that a file belongs to."""
    return path.parent.name or "text" if file_format(path) == "text" else bare_name(path)
