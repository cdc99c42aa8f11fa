"""The prose shipped with the project."""

import importlib.resources
from collections.abc import Iterator
from pathlib import Path

from minigpt.text.document import Document
from minigpt.text.file_digests import FileDigests
from minigpt.text.opening import BytesRead
from minigpt.text.source import HELD_OUT_FIRST, Source, total_size


class SampleSource(Source):
    """Ten texts to train on, and three each on other subjects for validation and test."""

    def __init__(self, digests: FileDigests) -> None:
        root = Path(str(importlib.resources.files("minigpt.text") / "sample"))
        self._paths = [
            (p, split) for split in HELD_OUT_FIRST for p in sorted((root / split).iterdir())
        ]
        self.identity = ["sample", *(digests.sha256(path) for path, _ in self._paths)]
        self.bytes = total_size(path for path, _ in self._paths)

    def documents(self, read: BytesRead) -> Iterator[Document]:
        for path, split in self._paths:
            text = path.read_text("utf-8")
            read.count += path.stat().st_size
            yield Document(f"{split}/{path.name}", text, "sample", split)
