"""Opens a file for reading: counted, unpacked, and as UTF-8."""

import bz2
import codecs
import gzip
import importlib
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from minigpt.errors import UserError
from minigpt.text.formats import COMPRESSED, SIGNATURE_BYTES, check_signature

BUFFER = 1 << 18

# Longest first: UTF-32's mark in little-endian order begins with that of UTF-16.
WIDE_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass
class BytesRead:
    """How many bytes of the files were read, compressed as they are on disk."""

    count: int = 0


@contextmanager
def open_text(path: Path, read: BytesRead) -> Iterator[BinaryIO]:
    """The unpacked bytes of a text file. UTF-16 and UTF-32 with a byte-order mark become UTF-8.

    Raises UserError, also while the bytes are read, for a file that cannot be read, is damaged,
    or is in a binary format.
    """
    try:
        raw = _CountedFile(path, read)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    with raw:
        stream: Any = raw
        errors: tuple[type[Exception], ...] = ()
        if path.suffix.lower() in COMPRESSED:
            stream, errors = _unpack(path, io.BufferedReader(raw, BUFFER))
        file: io.BufferedReader[Any] = io.BufferedReader(_NamedErrors(path, stream, errors), BUFFER)
        head = file.peek(SIGNATURE_BYTES)
        check_signature(path, head)
        for mark, encoding in WIDE_MARKS.items():
            if head.startswith(mark):
                file = io.BufferedReader(_Recoded(path, file, encoding), BUFFER)
                break
        yield cast(BinaryIO, file)


def import_optional(module: str, needed_for: object, extra: str = "data") -> Any:
    """An optional dependency. Raises UserError that names the extra if it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise UserError(
            f"{needed_for} needs the package {module.partition('.')[0]}: "
            f"pip install 'minigpt[{extra}]'"
        ) from None


class _CountedFile(io.FileIO):
    """A file that adds what is read of it to a count."""

    def __init__(self, path: Path, read: BytesRead) -> None:
        super().__init__(path)
        self._read = read

    def readinto(self, buffer: Any) -> int:
        count = super().readinto(buffer) or 0
        self._read.count += count
        return count


def _unpack(path: Path, packed: BinaryIO) -> tuple[Any, tuple[type[Exception], ...]]:
    """A stream of a compressed file's content, and the errors that a damaged file raises."""
    match path.suffix.lower():
        case ".gz":
            return _unpack_gzip(packed)
        case ".bz2":
            return bz2.BZ2File(packed), (EOFError,)
        case ".xz":
            return lzma.LZMAFile(packed), (EOFError, lzma.LZMAError)
    import pyarrow  # only now: most files are packed in another way

    return pyarrow.CompressedInputStream(pyarrow.PythonFile(packed, mode="r"), "zstd"), (OSError,)


def _unpack_gzip(packed: BinaryIO) -> tuple[Any, tuple[type[Exception], ...]]:
    """By isal, where it is installed, in a third of the time that Python's own takes."""
    try:
        from isal import igzip, igzip_lib
    except ImportError:
        return gzip.GzipFile(fileobj=packed), (EOFError, gzip.BadGzipFile, zlib.error)
    isal_error: Any = igzip_lib.IsalError  # a class, which isal's stubs call an instance
    return igzip.IGzipFile(fileobj=packed), (EOFError, gzip.BadGzipFile, isal_error)


class _NamedErrors(io.RawIOBase):
    """A stream whose errors become one line that names the file."""

    def __init__(self, path: Path, stream: Any, errors: tuple[type[Exception], ...]) -> None:
        self._path = path
        self._stream = stream
        self._errors = errors

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            return self._stream.readinto(buffer)
        except self._errors as error:
            raise UserError(f"{self._path}: damaged or cut short ({error}); get it again") from None
        except OSError as error:
            if error.errno is None:  # not from the system: bz2 says so that its data is damaged
                raise UserError(
                    f"{self._path}: damaged or cut short ({error}); get it again"
                ) from None
            raise UserError(f"{self._path}: cannot be read ({error.strerror})") from None


class _Recoded(io.RawIOBase):
    """UTF-16 or UTF-32 as UTF-8, so that the readers know one encoding."""

    def __init__(self, path: Path, file: BinaryIO, encoding: str) -> None:
        self._path = path
        self._encoding = encoding
        self._text = io.TextIOWrapper(file, encoding, newline="")
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            try:
                self._rest = self._text.read(BUFFER).encode()
            except UnicodeError as error:
                raise UserError(
                    f"{self._path}: not valid {self._encoding.upper()} ({error}); convert the file "
                    "to UTF-8 or leave it out"
                ) from None
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
