"""Paths and globs as a user types them -> the files they name."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from minigpt.errors import UserError


def user_path(text: str) -> Path:
    """A path with `~` as the home folder, unless a file has that very name."""
    return Path(text) if Path(text).exists() else Path(os.path.expanduser(text))


def is_url(text: str) -> bool:
    """True for s3://..., file://... and the like."""
    return "://" in text


def expand(key: str, patterns: Sequence[str]) -> list[Path]:
    """The files that paths and globs name, in order, each once.

    A file whose name has the signs of a glob is a file first. Raises UserError, naming the
    config key, for a missing file, a folder, or a glob that matches no file.
    """
    paths: dict[Path, None] = {}
    for pattern in map(str, map(user_path, patterns)):
        if Path(pattern).exists() or not glob.has_magic(pattern):
            paths[_file(key, Path(pattern))] = None
            continue
        matches = sorted(glob.glob(pattern, recursive=True))
        if not matches:
            raise UserError(f"{key}: no file matches {pattern!r} (relative to {Path.cwd()})")
        paths.update({Path(match): None for match in matches if not Path(match).is_dir()})
    if patterns and not paths:
        raise UserError(f"{key}: {', '.join(patterns)} matches folders only; name files in them")
    return list(paths)


def _file(key: str, path: Path) -> Path:
    if path.is_dir():
        raise UserError(f"{key}: {path} is a folder; name its files: {path}/*.txt")
    if not path.exists():
        raise UserError(f"{key}: no such file: {path} (relative to {Path.cwd()})")
    return path
