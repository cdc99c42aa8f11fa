"""Plants the canaries that a configuration asks for, and says where they do not fit."""

from collections.abc import Sequence

from minigpt.text.canaries import make_canaries
from minigpt.text.source import Source
from minigpt.text.sources.planted import PlantedSource
from minigpt.tokens.config import CorpusConfig
from minigpt.tokens.parts import Part

# Where max_tokens ends the text, canaries are planted in its first part, which holds this many
# characters a token: English has four, code has fewer. Where there are few ids, tokens are short.
MANY_IDS = 4096
CHARS_PER_TOKEN = 2.0
CHARS_PER_TOKEN_OF_FEW_IDS = 0.5


def plant(config: CorpusConfig, source: Source, n_vocab: int | None) -> Source:
    """The source with its canaries; the source itself if `data.canaries` is null.

    n_vocab: ids of the tokenizer; None for that of the text's characters.
    """
    if config.planted is None:
        return source
    canaries = make_canaries(config.planted)
    max_chars = None
    if config.max_tokens is not None:
        # A canary has fewer tokens than characters.
        room = config.max_tokens - sum(len(canary.text) * canary.repeats for canary in canaries)
        max_chars = int(max(0, room) * _chars_per_token(n_vocab))
    return PlantedSource(source, canaries, config.planted.seed, max_chars)


def _chars_per_token(n_vocab: int | None) -> float:
    if n_vocab is None:
        return 1.0
    return CHARS_PER_TOKEN if n_vocab >= MANY_IDS else CHARS_PER_TOKEN_OF_FEW_IDS


def planting_problem(config: CorpusConfig, parts: Sequence[Part]) -> str | None:
    """Why some canaries are not in a store, and the way out; None if all are."""
    if config.planted is None:
        return None
    planted = sum(part.planted for part in parts)
    if planted == config.planted.copies:
        return None
    return (
        f"data.canaries: {config.planted.copies - planted:,} of {config.planted.copies:,} copies "
        f"do not fit into data.max_tokens={config.max_tokens}; raise it, or plant fewer "
        f"(data.canaries.each={config.planted.each}, data.canaries.repeats="
        f"{config.planted.repeats})"
    )
