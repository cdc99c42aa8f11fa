"""Reads ahead in a text for what has to be known before its first document is placed in a split."""

from itertools import islice

from minigpt.text.canaries import make_canaries
from minigpt.text.opening import BytesRead
from minigpt.text.source import Source
from minigpt.tokens.config import CorpusConfig
from minigpt.tokens.split import Digest, HeldOut, held_out
from minigpt.tokens.tokenizer import CharTokenizer, Tokenizer

# In a corpus of fewer documents than this a split can come out empty; its share is then changed.
FEW_DOCUMENTS = 1_000


def survey(
    config: CorpusConfig, source: Source, tokenizer: Tokenizer | None
) -> tuple[Tokenizer, HeldOut]:
    """The tokenizer and the rule that holds out, for which the text is read ahead.

    The rule needs the hashes of the first documents; the tokenizer `char` needs the alphabet of
    the whole text. The source is the one without canaries, so that they change no split.
    """
    alphabet = {character for canary in make_canaries(config.planted) for character in canary.text}
    places: list[float] = []
    named: set[str] = set()
    documents = source.documents(BytesRead())
    count = chars = 0
    for document in documents if tokenizer is None else islice(documents, FEW_DOCUMENTS):
        count += 1
        whole = Digest()
        for piece in document.pieces():
            if tokenizer is None:
                alphabet.update(piece)
            if count <= FEW_DOCUMENTS:
                whole.update(piece)
        named.update(document.not_in)
        # Documents beyond max_tokens, at about four characters each, are not read.
        inside = config.max_tokens is None or chars < 4 * config.max_tokens
        if document.split is None and whole.chars and inside:
            places.append(whole.place)
            chars += whole.chars
    if tokenizer is None:
        tokenizer = CharTokenizer("".join(sorted(alphabet)))
    if count >= FEW_DOCUMENTS:
        places = []
    return tokenizer, held_out(places, config.val_fraction, config.test_fraction, named)
