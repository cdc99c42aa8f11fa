"""A trained tokenizer as a file: its tokens, and the text that they come from."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from minigpt.atomic_file import write_file
from minigpt.errors import UserError
from minigpt.json_text import parse_json
from minigpt.ordinary_file import read_text
from minigpt.text.paths import user_path
from minigpt.tokens.byte_pairs import TrainedTokenizer
from minigpt.tokens.durable import DISK_WAY_OUT

KIND = "minigpt tokenizer"
VERSION = 1


@dataclass(frozen=True)
class Origin:
    """What a tokenizer was trained on."""

    text: str  # fingerprint of the text, of its training split, and of the settings
    bytes: int
    documents: int
    is_whole: bool  # False: a sample, or the beginning, of the training text
    library: str  # that trained it, with its version


@dataclass(frozen=True)
class TokenizerFile:
    """A trained tokenizer and where it comes from."""

    tokenizer: TrainedTokenizer
    origin: Origin

    def to_json(self) -> str:
        content = {"kind": KIND, "version": VERSION, **self.tokenizer.spec()}
        return json.dumps({**content, "origin": asdict(self.origin)}, indent=1) + "\n"

    def write(self, path: Path) -> None:
        """Write the file whole or not at all."""
        write_file(path, self.to_json(), DISK_WAY_OUT)


def read_tokenizer_file(path: Path, way_out: str) -> TokenizerFile:
    """The tokenizer of a file.

    Raises UserError, with the way out, where the file is missing, damaged or of another kind.
    """
    try:
        content: Any = parse_json(read_text(path))
    except FileNotFoundError:
        raise UserError(f"no such tokenizer: {path}; {way_out}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise UserError(f"{path} is not readable ({type(error).__name__}); {way_out}") from None
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise UserError(f"{path} is not a tokenizer that minigpt trained; {way_out}")
    if content.get("version") != VERSION:
        raise UserError(
            f"{path}: version {content.get('version')} of a tokenizer's file, and this minigpt "
            f"reads {VERSION}; {way_out}"
        )
    try:
        return TokenizerFile(TrainedTokenizer.from_spec(content), Origin(**content["origin"]))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}); {way_out}") from None


def named_tokenizer_file(name: str) -> TokenizerFile:
    """The tokenizer of the file that data.tokenizer names."""
    return read_tokenizer_file(
        user_path(name),
        f"data.tokenizer={name} names a file that `minigpt tokenizer data=... --out {name}` makes",
    )
