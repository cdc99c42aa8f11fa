"""Documents: from the shipped sample, Python's standard library, or the user's own text files."""

import ast
import codecs
import glob
import importlib.resources
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from minigpt.errors import UserError

SPLITS = ("train", "val", "test")

# A corpus that is one long file is cut into sections of about this many characters.
SECTION_CHARS = 8_000


@dataclass(frozen=True)
class Document:
    """A text that stays whole: no part of it is ever in another split than the rest."""

    name: str
    text: str
    split: str | None = None  # None: by the hash of the text


def sample() -> Iterator[Document]:
    """The prose shipped with the project: ten subjects to learn, four others held out."""
    root = importlib.resources.files("minigpt.tokens") / "sample"
    for split in SPLITS:
        for file in sorted((root / split).iterdir(), key=lambda f: f.name):
            yield Document(f"{split}/{file.name}", file.read_text("utf-8"), split)


def stdlib() -> Iterator[Document]:
    """Code and documentation of the running Python's standard library, a document a module.

    Its tests are left out: they are half of the text and say little.
    """
    root = Path(sysconfig.get_path("stdlib"))
    left_out = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root)
        if left_out.isdisjoint(name.parts) and name != Path("pydoc_data/topics.py"):
            # A few modules keep another encoding on purpose.
            yield Document(str(name), path.read_text("utf-8", errors="replace"))
    topics = ast.parse((root / "pydoc_data/topics.py").read_text("utf-8"))
    for node in topics.body:
        if isinstance(node, ast.Assign):
            for topic, text in ast.literal_eval(node.value).items():
                yield Document(f"pydoc topic {topic}", text)


def files(
    patterns: Sequence[str], val: Sequence[str] = (), test: Sequence[str] = ()
) -> Iterator[Document]:
    """UTF-8 text files, a document each; one file alone is cut into sections at blank lines.

    Files named under val or test go to those splits; the rest are split by hash, save that a
    split with files of its own takes no others.
    Raises UserError on a missing file, an empty glob, a folder, or bytes that are not UTF-8.
    """
    if not patterns:
        raise UserError("data.files is empty; name text files or globs: data.files=[notes/*.txt]")
    paths = _expand("data.files", patterns)
    held_out = {"val": _expand("data.val_files", val), "test": _expand("data.test_files", test)}
    held = {path for held_paths in held_out.values() for path in held_paths}
    paths = [path for path in paths if path not in held]
    if len(paths) == 1:
        for i, section in enumerate(_sections(_read(paths[0]))):
            yield Document(f"{paths[0]} section {i}", section)
    else:
        for path in paths:
            yield Document(str(path), _read(path))
    for split, held_paths in held_out.items():
        for path in held_paths:
            yield Document(str(path), _read(path), split)


def _expand(key: str, patterns: Sequence[str]) -> list[Path]:
    paths: dict[Path, None] = {}  # in order, each once
    for pattern in patterns:
        found = sorted(glob.glob(pattern, recursive=True))
        if not found and glob.has_magic(pattern):
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


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    text = content.removeprefix(codecs.BOM_UTF8)  # a byte-order mark is no text
    try:
        return text.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        offset = error.start + len(content) - len(text)
        raise UserError(
            f"{path}: byte {offset} is not UTF-8 ({error.reason}); "
            "convert the file (iconv -t utf-8) or leave it out"
        ) from None


def _sections(text: str) -> Iterator[str]:
    """Consecutive pieces of about SECTION_CHARS, cut after a blank line, or a line, where found."""
    start = 0
    while start < len(text):
        end = start + SECTION_CHARS
        for mark in ("\n\n", "\n"):
            if (found := text.find(mark, end, end + SECTION_CHARS)) >= 0:
                end = found + len(mark)
                break
        yield text[start:end]
        start = end


SOURCES: dict[str, Callable[..., Iterator[Document]]] = {
    "sample": sample,
    "stdlib": stdlib,
    "files": files,
}
