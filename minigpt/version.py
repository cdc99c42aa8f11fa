"""The version of this code and the commit it was taken from."""

import os
import subprocess
from pathlib import Path

__version__ = "0.1.0"

_PACKAGE = Path(__file__).resolve().parent
_BAKED = _PACKAGE / "commit.txt"  # hatch_build.py adds it to a wheel; a checkout has none


def code_commit() -> str | None:
    """The full commit hash of this code, with `-dirty` where tracked files have changes.

    A checkout asks git, a wheel reads what its build wrote. None where neither knows.
    """
    if _BAKED.is_file():
        return _BAKED.read_text("utf-8").strip()
    # An installed copy may lie inside another project's repository: that commit is not ours.
    top = _git("rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != _PACKAGE.parent:
        return None
    return _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(*arguments: str) -> str | None:
    """What a git command prints about this folder; None where git fails or is missing."""
    # A git hook sets GIT_DIR and the like, which would point git at another repository.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment["GIT_OPTIONAL_LOCKS"] = "0"  # reading must not block a commit made meanwhile
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=_PACKAGE,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
