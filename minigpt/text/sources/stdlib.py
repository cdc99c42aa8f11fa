"""Python's standard library as a corpus: offline, everywhere, a few megabytes."""

import ast
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from minigpt.text.document import Document
from minigpt.text.file_digests import FileDigests
from minigpt.text.opening import BytesRead
from minigpt.text.source import Source, total_size

# The tests are half of the text and repeat themselves; packages differ between machines.
LEFT_OUT = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}


class StdlibSource(Source):
    """Code of the running Python, one document a module, and the topics of its `help`."""

    def __init__(self, digests: FileDigests) -> None:
        self._root = Path(sysconfig.get_path("stdlib"))
        self._paths = [
            path
            for path in sorted(self._root.rglob("*.py"))
            if LEFT_OUT.isdisjoint(path.relative_to(self._root).parts)
        ]
        self.identity = ["stdlib", *map(digests.sha256, self._paths)]
        self.bytes = total_size(self._paths)

    def documents(self, read: BytesRead) -> Iterator[Document]:
        topics = self._root / "pydoc_data/topics.py"
        for path in self._paths:
            # A few modules are in another encoding on purpose.
            text = path.read_text("utf-8", errors="replace")
            read.count += path.stat().st_size
            if path == topics:
                yield from _topics(text)
            else:
                yield Document(str(path.relative_to(self._root)), text, "code")


def _topics(code: str) -> Iterator[Document]:
    """The entries of the dict that the module `pydoc_data.topics` assigns."""
    for node in ast.parse(code).body:
        if isinstance(node, ast.Assign):
            for topic, text in ast.literal_eval(node.value).items():
                yield Document(f"pydoc topic {topic}", text, "documentation")
