"""Reads small corpora as a list of documents."""

import bz2
import gzip
import lzma
from functools import partial
from pathlib import Path

import pyarrow as pa

from minigpt.text.file_digests import FileDigests
from minigpt.text.open_source import open_source
from minigpt.text.opening import BytesRead
from minigpt.text.readers.read import read_texts

COMPRESS = {
    "": bytes,
    ".gz": partial(gzip.compress, mtime=0),  # without the time, so that tests have fixed names
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: pa.compress(content, "zstd", asbytes=True),
}


def texts(path, field="text"):
    """The texts of a file; long ones are joined from their pieces."""
    return [
        text if isinstance(text, str) else "".join(text)
        for _, text in read_texts(path, field, BytesRead())
    ]


def source(config):
    return open_source(config, FileDigests(Path(config.root) / "digests.json"))


def documents(config):
    return list(source(config).documents(BytesRead()))
