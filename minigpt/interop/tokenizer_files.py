"""Our tokenizers in the format of the `tokenizers` library, which `AutoTokenizer` loads."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

from tiktoken_ext.openai_public import r50k_pat_str
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from minigpt.errors import UserError
from minigpt.tokens.byte_pairs import BYTES, BytePairTokenizer
from minigpt.tokens.gpt2_table import END_OF_TEXT, visible_words
from minigpt.tokens.tokenizer import CharTokenizer
from minigpt.tokens.tokenizer import Tokenizer as OurTokenizer

FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")

# Encoded both ways before a tokenizer is written: contractions, digits, runs of spaces and lines.
PROBE = "I'll  say: it's 1234,5\n\n\t naïve — 日本語 \U0001f600!  \n"


def write_tokenizer(
    tokenizer: OurTokenizer, vocab_size: int, block_size: int, folder: Path
) -> bool:
    """Write the files of a tokenizer for a model of so many ids; False where there cannot be any.

    Raises UserError for an encoding whose ids the library would not give exactly.
    """
    theirs = to_tokenizers(tokenizer, vocab_size)
    if theirs is None:
        return False
    _check_same_ids(tokenizer, theirs, vocab_size)
    theirs.save(str(folder / "tokenizer.json"))
    end = tokenizer.end_of_text
    special = (
        {"bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT}
        if end is not None and end < vocab_size
        else {}
    )
    settings: dict[str, Any] = {
        # Not GPT2Tokenizer, which would add an <|endoftext|> to a vocabulary without one.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": block_size,
        "model_input_names": ["input_ids", "attention_mask"],
        "clean_up_tokenization_spaces": False,
        **special,
    }
    for name, content in ((FILES[1], settings), (FILES[2], special)):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    return True


def to_tokenizers(tokenizer: OurTokenizer, vocab_size: int) -> Tokenizer | None:
    """The same tokenizer of the `tokenizers` library, for a model of so many ids.

    A model may know fewer ids than its byte-pair encoding. Then only these tokens stay: a text
    that needs no other gets the same ids, and any other is cut into smaller pieces. None where not
    even the single bytes stay.
    """
    if isinstance(tokenizer, CharTokenizer):
        return _characters(tokenizer, vocab_size)
    assert isinstance(tokenizer, BytePairTokenizer)
    ranks = {token: rank for token, rank in tokenizer.ranks.items() if rank < vocab_size}
    if any(byte not in ranks for byte in BYTES):
        return None
    word = dict(zip(ranks, visible_words([*ranks]), strict=True))
    special = {name: i for name, i in tokenizer.special_tokens.items() if i < vocab_size}
    vocabulary = {word[token]: rank for token, rank in ranks.items()} | special
    pairs = [(word[a], word[b]) for a, b in merges(ranks)]
    theirs = Tokenizer(models.BPE(vocabulary, pairs))
    splits_as_gpt2 = tokenizer.pattern == r50k_pat_str
    by_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=splits_as_gpt2)
    theirs.pre_tokenizer = (
        by_bytes
        if splits_as_gpt2
        else pre_tokenizers.Sequence(
            [pre_tokenizers.Split(Regex(tokenizer.pattern), "isolated"), by_bytes]
        )
    )
    theirs.decoder = decoders.ByteLevel()
    theirs.add_special_tokens([AddedToken(name, normalized=False) for name in special])
    return theirs


def _characters(tokenizer: CharTokenizer, vocab_size: int) -> Tokenizer:
    alphabet = tokenizer.alphabet[:vocab_size]
    # Without a token for the unknown, another character is an error, as it is in ours.
    theirs = Tokenizer(models.WordLevel({c: i for i, c in enumerate(alphabet)}, unk_token=""))
    theirs.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    theirs.decoder = decoders.Fuse()
    return theirs


def merges(ranks: dict[bytes, int]) -> list[tuple[bytes, bytes]]:
    """The two tokens that each longer one is merged from, in the order of merging.

    tiktoken's table does not name them: they are what is left of the token's bytes when all
    merges of lower rank are done. A token that is only found whole has none.
    """
    pairs = []
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        parts = [token[i : i + 1] for i in range(len(token))]
        while len(parts) > 2:
            best, at = min((ranks.get(a + b, rank), i) for i, (a, b) in enumerate(pairwise(parts)))
            if best >= rank:
                break
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        if len(parts) == 2:
            pairs.append((parts[0], parts[1]))
    return pairs


def _check_same_ids(tokenizer: OurTokenizer, theirs: Tokenizer, vocab_size: int) -> None:
    text = tokenizer.alphabet if isinstance(tokenizer, CharTokenizer) else PROBE
    ids = tokenizer.encode(text)
    if max(ids) < vocab_size and theirs.encode(text).ids != ids:
        raise UserError(
            f"tokenizer {tokenizer.name}: the tokenizers library gives other ids for it, so it "
            "cannot be exported; gpt2, char and bpe-N can"
        )
