"""The tokenizer that a configuration names."""

import sys
from pathlib import Path

from minigpt.errors import UserError
from minigpt.text.file_digests import FileDigests
from minigpt.text.source import Source
from minigpt.tokens.config import CorpusConfig
from minigpt.tokens.manifest import Manifest
from minigpt.tokens.tokenizer import Tokenizer, load_tokenizer
from minigpt.tokens.tokenizer_file import named_tokenizer_file
from minigpt.tokens.tokenizer_name import names_a_file, vocabulary_to_train
from minigpt.tokens.train_tokenizer import origin_fingerprint, trained_tokenizer


def ready_tokenizer(name: str) -> Tokenizer | None:
    """The tokenizer of a name or a file; None where it depends on the text.

    Raises UserError for an unknown name, and for a file that is not a tokenizer.
    """
    if names_a_file(name):
        return named_tokenizer_file(name).tokenizer
    if name == "char" or vocabulary_to_train(name) is not None:
        return None
    return load_tokenizer(name)


def tokenizer_of_text(
    config: CorpusConfig, source: Source, digests: FileDigests, root: Path
) -> Tokenizer | None:
    """The tokenizer `bpe-N` of a text, trained where it is missing; None for `char`."""
    n_vocab = vocabulary_to_train(config.tokenizer or "")
    if n_vocab is None:
        return None
    return trained_tokenizer(config, n_vocab, source, digests, root).file.tokenizer


def note_other_origin(config: CorpusConfig, source: Source) -> None:
    """Says in one line if the file that data.tokenizer names was trained on other text."""
    name = config.tokenizer or ""
    if not names_a_file(name):
        return
    if named_tokenizer_file(name).origin.text != origin_fingerprint(config, source):
        print(
            f"data.tokenizer={name} was trained on other text, or on another training split of "
            "this one; its ids are used as they are",
            file=sys.stderr,
        )


def check_store_tokenizer(config: CorpusConfig, manifest: Manifest) -> None:
    """Raises UserError where a store's ids are not those of the tokenizer that is named."""
    stored, name = manifest.tokenizer, config.tokenizer or ""
    if names_a_file(name):
        is_same = named_tokenizer_file(name).tokenizer.fingerprint == stored["fingerprint"]
    else:
        is_same = name in ("", stored["name"])
    if not is_same:
        raise UserError(
            f"data.tokenizer={name}: the ids of the store {config.files[0]} are those of tokenizer "
            f"{stored['name']} (fingerprint {stored['fingerprint'][:12]}); leave data.tokenizer "
            "out, or name the text itself in place of data=store"
        )
