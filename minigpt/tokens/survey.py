"""Reads ahead in a text for what has to be known before its first document is placed in a split."""

from itertools import islice

from minigpt.text.canaries import make_canaries
from minigpt.text.opening import BytesRead
from minigpt.text.source import Source
from minigpt.tokens.config import CorpusConfig
from minigpt.tokens.split import Digest, HeldOut, held_out
from minigpt.tokens.tokenizer import CharTokenizer

# In a corpus of fewer documents than this a split can come out empty; its share is then changed.
FEW_DOCUMENTS = 1_000


def held_out_rule(config: CorpusConfig, source: Source) -> HeldOut:
    """The rule that holds out, from the hashes of the first documents.

    The source is the one without canaries, so that they change no split.
    """
    places: list[float] = []
    named: set[str] = set()
    count = chars = 0
    for document in islice(source.documents(BytesRead()), FEW_DOCUMENTS):
        count += 1
        whole = Digest()
        for piece in document.pieces():
            whole.update(piece)
        named.update(document.not_in)
        # Documents beyond max_tokens, at about four characters each, are not read.
        inside = config.max_tokens is None or chars < 4 * config.max_tokens
        if document.split is None and whole.chars and inside:
            places.append(whole.place)
            chars += whole.chars
    if count >= FEW_DOCUMENTS:
        places = []
    return held_out(places, config.val_fraction, config.test_fraction, named)


def characters_tokenizer(config: CorpusConfig, source: Source) -> CharTokenizer:
    """The tokenizer `char` of the whole text, held-out documents and canaries included."""
    alphabet = {character for canary in make_canaries(config.planted) for character in canary.text}
    for document in source.documents(BytesRead()):
        for piece in document.pieces():
            alphabet.update(piece)
    return CharTokenizer("".join(sorted(alphabet)))
