"""Which format a file has: by its ending, and by the first bytes where the ending is wrong."""

import re
from pathlib import Path

from minigpt.errors import UserError

COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
JSON_LINES = (".jsonl", ".ndjson", ".jsonlines", ".jl", ".json")
ENDINGS = {
    **dict.fromkeys(JSON_LINES, "json"),
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}

_ARCHIVE = "is an archive; unpack it and name the files in it"
_PAGES = "is not plain text; save it as text (.txt) and name that file"
_PACKED = "has a compression that is not read here; unpack it, or pack it as .gz, .bz2, .xz or .zst"
_TABLE = "is a format that is not read here; convert it to JSON lines, CSV or Parquet"

REFUSED_ENDINGS = {
    **dict.fromkeys((".zip", ".tar", ".7z", ".rar", ".jar", ".whl"), _ARCHIVE),
    **dict.fromkeys((".tgz", ".tbz", ".tbz2", ".txz", ".tzst"), _ARCHIVE),
    **dict.fromkeys((".docx", ".pptx", ".odt", ".odp", ".pdf", ".epub", ".mobi", ".azw3"), _PAGES),
    **dict.fromkeys((".lz4", ".br", ".lzma", ".z", ".lz", ".sz"), _PACKED),
    **dict.fromkeys((".xlsx", ".ods", ".arrow", ".feather", ".orc", ".avro"), _TABLE),
    **dict.fromkeys((".sqlite", ".sqlite3", ".npy", ".npz", ".pkl", ".h5"), _TABLE),
}

_RENAME = "is {0} under another name; rename it so that it ends with {1}"

# (offset, bytes, what to say); https://en.wikipedia.org/wiki/List_of_file_signatures
SIGNATURES = (
    (0, b"PK\x03\x04", _ARCHIVE),
    (0, b"PK\x05\x06", _ARCHIVE),
    (257, b"ustar", _ARCHIVE),
    (0, b"7z\xbc\xaf\x27\x1c", _ARCHIVE),
    (0, b"Rar!\x1a\x07", _ARCHIVE),
    (0, b"%PDF-", _PAGES),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", _PAGES),  # Word, Excel and PowerPoint before 2007
    (0, b"\x04\x22\x4d\x18", _PACKED),  # lz4
    (0, b"ARROW1\x00", _TABLE),
    (0, b"SQLite format 3\x00", _TABLE),
    (0, b"PAR1", _RENAME.format("Parquet", ".parquet")),
    (0, b"\x1f\x8b\x08", _RENAME.format("packed by gzip", ".gz")),
    (0, b"BZh91AY&SY", _RENAME.format("packed by bzip2", ".bz2")),
    (0, b"\xfd7zXZ\x00", _RENAME.format("packed by xz", ".xz")),
    (0, b"\x28\xb5\x2f\xfd", _RENAME.format("packed by zstd", ".zst")),
)
SIGNATURE_BYTES = 262  # the furthest signature ends here


def file_format(path: Path) -> str:
    """`text`, `json`, `csv`, `tsv` or `parquet`. The ending of a compression does not count."""
    return ENDINGS.get(_unpacked_name(path).suffix.lower(), "text")


def bare_name(path: Path) -> str:
    """A file's name without the endings of formats and compressions, and without a shard's number.

    The shards of a dataset share it: `wiki-00001-of-00041.jsonl.gz` -> `wiki`.
    """
    endings = "|".join(ending[1:] for ending in (*ENDINGS, *COMPRESSED))
    name = re.sub(rf"(\.({endings}))+$", "", path.name)
    return re.sub(r"[-_.]\d+([-_]of[-_]\d+)?$", "", name)


def check_ending(path: Path) -> None:
    """Raises UserError, with the way out, for a file whose ending tells that it is not text."""
    for name in (path, _unpacked_name(path)):
        if (reason := REFUSED_ENDINGS.get(name.suffix.lower())) is not None:
            raise UserError(f"{path} {reason}")


def check_signature(path: Path, head: bytes) -> None:
    """Raises UserError, with the way out, if the first bytes are those of a binary format."""
    for offset, signature, reason in SIGNATURES:
        if head[offset : offset + len(signature)] == signature:
            raise UserError(f"{path} {reason}")


def _unpacked_name(path: Path) -> Path:
    return path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
