"""Commands as they are printed: each runs as it stands when pasted into a shell."""

import shlex
from pathlib import Path


def display_path(path: Path) -> Path:
    """A path as one would type it from here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def resume_command(folder: Path) -> str:
    """The command that continues a run; what follows `resume=` is taken as it is."""
    return shlex.join(["python", "train.py", f"resume={display_path(folder)}"])


def tensorboard_command(folder: Path) -> str:
    return shlex.join(["tensorboard", "--logdir", str(display_path(folder))])


def generate_command(run: Path) -> str:
    """The command that writes text with a run's last weights."""
    words = ["minigpt", "generate", str(display_path(run)), "--which", "last", "--prompt", "The"]
    return shlex.join(words)


def hydra_value(text: str) -> str:
    """Text quoted for Hydra's grammar, so that commas, brackets and spaces mean themselves.

    Inside its quotes Hydra takes a backslash before a quote, and doubles those at the end.
    """
    body = text.rstrip("\\")
    slashes = "\\" * (2 * (len(text) - len(body)))
    return "'" + body.replace("\\'", "\\\\\\'").replace("'", "\\'") + slashes + "'"
