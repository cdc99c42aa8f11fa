"""What a `data.tokenizer` asks for: a published encoding, one to be trained, or a file of one.

Imports nothing heavy, so that a configuration is checked quickly.
"""

import re

from minigpt.errors import UserError

SMALLEST = 257  # the 256 bytes and the end of text
LARGEST = 1_000_000


def vocabulary_to_train(name: str, key: str = "data.tokenizer") -> int | None:
    """The ids of a tokenizer to be trained on the text: 8192 for `bpe-8192`; None for other names.

    Raises UserError for a size that no tokenizer can have.
    """
    if not name.startswith("bpe-"):
        return None
    if not re.fullmatch(r"0|[1-9][0-9]*", name.removeprefix("bpe-")):
        raise UserError(f"{key}={name}: bpe- and the number of ids, such as bpe-8192")
    check_vocabulary_size(key, name, int(name.removeprefix("bpe-")))
    return int(name.removeprefix("bpe-"))


def check_vocabulary_size(key: str, value: object, n_vocab: int) -> None:
    """Raises UserError unless a byte-level tokenizer can have so many ids."""
    if not SMALLEST <= n_vocab <= LARGEST:
        raise UserError(
            f"{key}={value}: a vocabulary has {SMALLEST} ids at least, the 256 bytes and the end "
            f"of text, and {LARGEST:,} at most; 8192 suits a small corpus"
        )


def names_a_file(name: str) -> bool:
    """True for the path of a file that `minigpt tokenizer --out` wrote."""
    return name.endswith(".json")
