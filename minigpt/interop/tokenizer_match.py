"""Which of our tokenizers a folder's tokenizer is, if it is one."""

import json
from dataclasses import dataclass
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from minigpt.errors import UserError
from minigpt.interop.gpt2_folder import read_json
from minigpt.interop.tokenizer_files import PROBE, to_tokenizers
from minigpt.tokens.byte_pairs import BYTES, TrainedTokenizer
from minigpt.tokens.gpt2_table import END_OF_TEXT, bytes_of_words
from minigpt.tokens.tokenizer import CharTokenizer, Tokenizer, load_tokenizer

TOKENIZER = "tokenizer.json"
VOCABULARY, MERGES = "vocab.json", "merges.txt"  # what older folders have instead


@dataclass(frozen=True)
class FolderTokenizer:
    """The tokenizer of a folder, as far as it decides on ids; special tokens are left out."""

    path: Path
    library: tokenizers.Tokenizer
    vocabulary: dict[str, int]
    merges: list[list[str]]
    is_of_characters: bool

    def gives_the_ids_of(self, tokenizer: Tokenizer) -> bool:
        """True where a text gets the same ids, if it needs none that this tokenizer lacks."""
        expected = to_tokenizers(tokenizer, max(self.vocabulary.values(), default=-1) + 1)
        if expected is None or parts_of(expected) != (self.vocabulary, self.merges):
            return False
        text = tokenizer.alphabet if isinstance(tokenizer, CharTokenizer) else PROBE
        texts = (text, text[::-1])
        return all(
            self.library.encode(t, add_special_tokens=False).ids == expected.encode(t).ids
            for t in texts
        )


def recognise_tokenizer(folder: Path, vocab_size: int) -> Tokenizer | None:
    """GPT-2's tokenizer, a trained one or one of characters, as the folder's files say.

    None without files.

    Raises UserError for any other, and for one with ids that a model of `vocab_size` lacks.
    """
    theirs = _read(folder, vocab_size)
    if theirs is None:
        return None
    by_id = sorted(theirs.vocabulary, key=lambda token: theirs.vocabulary[token])
    tokenizer: Tokenizer
    if theirs.is_of_characters:
        tokenizer = CharTokenizer("".join(by_id))
    else:
        tokenizer = _trained(by_id, theirs.library) or load_tokenizer("gpt2")
    if not theirs.gives_the_ids_of(tokenizer):
        raise UserError(
            f"{theirs.path}: this tokenizer is neither GPT-2's nor one of single characters, nor "
            "one that minigpt trained"
        )
    return tokenizer


def _trained(words: list[str], library: tokenizers.Tokenizer) -> TrainedTokenizer | None:
    """The tokenizer with these tokens if it has the order of those that we train; else None."""
    try:
        tokens = bytes_of_words(words)
    except ValueError:
        return None
    ends_right = library.token_to_id(END_OF_TEXT) in (None, len(words))
    return TrainedTokenizer(tokens[256:]) if tokens[:256] == BYTES and ends_right else None


def check_tokenizer(folder: Path, tokenizer: Tokenizer, vocab_size: int) -> None:
    """Raises UserError where a folder has a tokenizer, and it gives other ids than ours."""
    theirs = _read(folder, vocab_size)
    if theirs is not None and not theirs.gives_the_ids_of(tokenizer):
        raise UserError(
            f"data.tokenizer={tokenizer.name}: the tokenizer of {folder} gives other ids, so its "
            "weights would mean other tokens; tokenize as the folder does"
        )


def _read(folder: Path, vocab_size: int) -> FolderTokenizer | None:
    path = folder / TOKENIZER
    if not path.is_file():
        path = folder / VOCABULARY
    if not path.is_file():
        return None
    content = read_json(path)
    try:
        if path.name == TOKENIZER:
            library = tokenizers.Tokenizer.from_file(str(path))
        else:
            lines = (folder / MERGES).read_text("utf-8").splitlines()
            pairs = [(a, b) for a, b in map(str.split, lines) if a != "#version:"]
            library = tokenizers.Tokenizer(models.BPE(content, pairs))
            library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
            library.decoder = decoders.ByteLevel()
        vocabulary, merges = parts_of(library)
        is_of_characters = isinstance(library.model, models.WordLevel)
    except Exception as error:  # the library raises Exception itself
        raise UserError(f"{path}: the tokenizer cannot be read ({error})") from None
    largest_id = max(library.get_vocab(with_added_tokens=True).values(), default=-1)
    if largest_id >= vocab_size:
        raise UserError(
            f"{path}: the tokenizer has the id {largest_id}, and the model knows {vocab_size} "
            "tokens only (vocab_size in config.json); they do not belong together"
        )
    return FolderTokenizer(path, library, vocabulary, merges, is_of_characters)


def parts_of(library: tokenizers.Tokenizer) -> tuple[dict[str, int], list[list[str]]]:
    """The ids of all tokens but special ones, and the merges in order."""
    content = json.loads(library.to_str())
    special = {END_OF_TEXT, *(token["content"] for token in content["added_tokens"])}
    vocabulary = {t: i for t, i in content["model"]["vocab"].items() if t not in special}
    return vocabulary, content["model"].get("merges", [])
