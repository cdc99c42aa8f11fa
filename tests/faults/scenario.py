"""What every scenario has: how it starts, what it types, and what it has to leave."""

import shutil
from typing import ClassVar

from tests.conftest import WORDS
from tests.faults.harness import UNFINISHED


class Scenario:
    """A command in a folder; the defaults fit one whose files are the same bytes each time."""

    name = ""
    old: ClassVar = {}  # the content before the command
    has_threads = False  # that would not live in a fork
    codes = (0, 2)  # of ends that are right
    reads = False  # whether calls that only read are failed, too

    def prepare(self, before, warm):
        """Fill the folder that the command starts with."""

    def takes(self, point):
        """True for a point of this command's own."""
        return self.reads or point.call != "read"

    def words(self, folder):
        """What is typed."""
        raise NotImplementedError

    def again(self, folder):
        """What is typed after a fault."""
        return self.words(folder)

    def content(self, folder):
        """What every end has to have in common, by file; without locks and the hashes' cache."""
        return {
            str(path.relative_to(folder)): self.part(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and not path.name.endswith(".lock") and path.name != "digests.json"
        }

    def part(self, path):
        """What has to be the same of one file."""
        return path.read_bytes()

    def half_files(self, folder, content):
        """The first file that is neither the old one nor the new one; None if there is none."""
        for path in sorted(folder.rglob("*")):
            name = str(path.relative_to(folder))
            if not path.is_file() or UNFINISHED.search(name):
                continue
            try:
                if self.part(path) not in (self.old.get(name), content.get(name)):
                    self.check(path)
            except Exception as error:
                return f"{name} is half written ({error!r})"
        return None

    def check(self, path):
        """Raises unless a file that is neither old nor new is whole."""
        raise AssertionError("it is neither the old file nor the new one")

    def tells(self, ended):
        """True if the command says that something is missing, though it ends with 0."""
        return False

    def progress(self, folder):
        """What the next start must not do again."""

    def lost(self, folder, seen):
        """What the next start did again in silence; None if nothing."""


def made(warm, before, *words):
    """Let a command fill the folder that a scenario starts with."""
    warm.folder.mkdir(exist_ok=True)
    shutil.rmtree(warm.folder)
    shutil.copytree(before, warm.folder)
    ended = warm.run(words)
    assert ended.code == 0, ended.err
    shutil.rmtree(before)
    shutil.copytree(warm.folder, before)


def write_corpus(folder):
    folder.mkdir()
    for i in range(40):
        words = [WORDS[(i * 7 + j * j) % len(WORDS)] for j in range(20 + i % 5)]
        (folder / f"{i:02}.txt").write_text(f"{i} " + " ".join(words) + ".\n", "utf-8")


def corpus_words(folder):
    return [
        "data=files", f"data.files=[{folder}/corpus/*.txt]", "data.tokenizer=char",
        f"data.root={folder}/tokens", "data.val_fraction=0.2", "data.test_fraction=0.2",
    ]  # fmt: skip
