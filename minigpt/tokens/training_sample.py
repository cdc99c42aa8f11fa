"""The text that a tokenizer is trained on: training documents, or a sample of them if many."""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from minigpt.text.document import Document
from minigpt.tokens.seen_texts import SeenTexts
from minigpt.tokens.split import Digest, HeldOut, split_of
from minigpt.tokens.trainer_text import cut_long_words, within_memory


@dataclass(frozen=True)
class TrainingSample:
    """Training documents, or the beginnings of long ones."""

    contents: list[bytes]  # UTF-8; a cut may lie inside a character
    is_whole: bool  # False if some of the training text is left out

    @property
    def bytes(self) -> int:
        return sum(map(len, self.contents))

    def texts(self) -> Iterator[str]:
        """The text, for a trainer: a document is a piece, but very long words are cut."""
        for content in self.contents:
            yield from cut_long_words(content.decode("utf-8", "ignore"))


def training_sample(
    documents: Iterable[Document],
    rule: HeldOut,
    max_bytes: int,
    document_tokens: int | None,
    max_tokens: int | None,
) -> TrainingSample:
    """Training documents of max_bytes at most: those with the smallest hashes, held in memory.

    So the sample is spread over the whole text, and depends on neither its order nor on any
    document that is held out. Where the tokens of the training split or of a document are limited,
    the text is limited to as many bytes. A token has a byte at least, so it is all trained on.
    """
    seen = SeenTexts()
    heap: list[tuple[int, bytes]] = []  # the largest hash first, as a negative number
    held = read = 0  # bytes
    limit = 1 << 64  # documents whose hash is below it are in the sample
    is_whole = True
    most = max_bytes if document_tokens is None else min(max_bytes, document_tokens)
    for document in documents:
        whole, content, size = _read(document, most)
        if not whole.chars or not seen.add(whole.key) or split_of(document, whole, rule) != "train":
            continue
        trained_on = size if document_tokens is None else min(size, document_tokens)
        if max_tokens is not None:
            content = content[: max_tokens - read]
        is_whole &= len(content) == size and whole.key < limit
        if whole.key < limit:
            heapq.heappush(heap, (-whole.key, content))
            held += len(content)
        while held > max_bytes:
            negative, left_out = heapq.heappop(heap)
            held -= len(left_out)
            limit = -negative
            is_whole = False
        read += trained_on + 1  # the end of text is a token, too
        if max_tokens is not None and read >= max_tokens:
            is_whole = False
            break
    chosen = [content for _, content in sorted(heap, reverse=True)]
    contents = within_memory(chosen)
    return TrainingSample(contents, is_whole and contents == chosen)


def _read(document: Document, most: int) -> tuple[Digest, bytes, int]:
    """A document's digest, its first `most` bytes, and how many it has."""
    whole, content, size = Digest(), bytearray(), 0
    for piece in document.pieces():
        encoded = piece.encode()
        whole.update(piece)
        content += encoded[: most - len(content)]
        size += len(encoded)
    return whole, bytes(content), size
