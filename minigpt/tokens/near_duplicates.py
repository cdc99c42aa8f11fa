"""Leaves out documents that nearly repeat an earlier one, as datatrove's MinHash finds them."""

import io
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from minigpt.errors import check_at_most, check_positive, check_types
from minigpt.text.document import Document
from minigpt.text.opening import BytesRead, import_optional
from minigpt.text.source import Source

# A language for which datatrove loads no tokenizer of words before the first text.
ANY_LANGUAGE = "aii"


class Words:
    """Splits at white space, which suits any language with spaces and needs no other package."""

    word_tokenize = staticmethod(str.split)


@dataclass(frozen=True)
class NearDuplicates:
    """The keys of `data.near_duplicates` (Broder, 1997; Lee et al., 2022).

    Two texts are candidates if all hashes of one bucket agree, of their sets of n-grams of words.
    With similarity s that has the probability 1 - (1 - s^hashes)^buckets: a half at s = 0.72.
    """

    n_grams: int = 5
    buckets: int = 14
    hashes: int = 8  # of each bucket
    seed: int = 1

    def __post_init__(self) -> None:
        check_types("data.near_duplicates", self)
        check_positive("data.near_duplicates", self, "n_grams", "buckets", "hashes", "seed")
        limits = {"n_grams": 1000, "buckets": 1000, "hashes": 1000, "seed": 2**32 - 1}
        check_at_most("data.near_duplicates", self, limits)


class UniqueSource(Source):
    """Another source without what nearly repeats an earlier document.

    The source is read once ahead. A document that is too long to hold is compared with no other.
    """

    def __init__(self, source: Source, settings: NearDuplicates) -> None:
        self._source = source
        self._settings = settings
        self.identity = [*source.identity, str(settings)]
        self.bytes = source.bytes

    def documents(self, read: BytesRead) -> Iterator[Document]:
        for number, document in enumerate(self._source.documents(read)):
            if number not in self.left_out:
                yield document

    @cached_property
    def left_out(self) -> set[int]:
        """The numbers of the documents that nearly repeat an earlier one."""
        minhash = import_optional(
            "datatrove.pipeline.dedup.minhash", "data.near_duplicates", extra="prepare"
        )
        s = self._settings
        config = minhash.MinhashConfig(
            n_grams=s.n_grams,
            num_buckets=s.buckets,
            hashes_per_bucket=s.hashes,
            seed=s.seed,
            # Not xxhash, whose version 4 takes no strings.
            hash_config=minhash.HashConfig(hash_fc="sha1"),
        )
        with tempfile.TemporaryDirectory() as folder, _silence():
            signatures, pairs, clusters = (f"{folder}/{name}" for name in ("a", "b", "c"))
            signer = minhash.MinhashDedupSignature(signatures, config, ANY_LANGUAGE)
            signer.word_tokenizer = Words()
            signer.run(self._texts())
            buckets = minhash.MinhashDedupBuckets(signatures, pairs, config=config)
            for bucket in range(s.buckets):
                buckets.run(None, bucket, s.buckets)
            minhash.MinhashDedupCluster(pairs, clusters, config, save_cluster_id=True).run()
            return _all_but_first(Path(clusters))

    def _texts(self) -> Iterator[Any]:
        from datatrove.data import Document as Text

        for number, document in enumerate(self._source.documents(BytesRead())):
            if isinstance(document.text, str):
                text = document.text
            else:
                text = ""
                for _ in document.text:
                    pass  # a source goes on when a text is read to its end
            yield Text(text, str(number))


@contextmanager
def _silence() -> Iterator[None]:
    """Keep datatrove's log and its bar from the terminal."""
    from loguru import logger

    logger.disable("datatrove")
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.enable("datatrove")


def _all_but_first(clusters: Path) -> set[int]:
    """Of datatrove's (document, cluster) pairs all documents but the first of each cluster."""
    first: dict[int, int] = {}
    left_out = set()
    for path in clusters.glob("*.clusters"):
        for document, cluster in sorted(struct.iter_unpack("<2I", path.read_bytes())):
            if first.setdefault(cluster, document) != document:
                left_out.add(document)
    return left_out
