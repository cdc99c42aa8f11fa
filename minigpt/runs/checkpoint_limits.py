"""What a checkpoint file may hold: classes that run nothing, and no more memory than its bytes."""

import math
import pickletools
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minigpt.errors import UserError

# The part that says how the tensors belong together. A network of a thousand blocks needs 13 MB.
STRUCTURE = "data.pkl"
STRUCTURE_BYTES = 32 << 20
# All that torch.save writes, below one folder. torch reads names without regard to case.
RECORDS = re.compile(
    r"data\.pkl|byteorder|version|\.format_version|\.storage_alignment|data/\d+"
    r"|\.data/serialization_id"
)

MOST_VALUES = 1_000_000  # of numbers, texts and tensors; lists that name each other can hold more
DEEPEST = 100  # dicts and lists in one another
SHOWN = 100  # characters of a name, in an error
LARGEST_INT = 2**63

# All that torch.save writes of plain values and tensors. torch would also make, for example, a
# bytearray of any size that a file names.
CLASSES = re.compile(
    r"collections (OrderedDict|Counter)|(builtins|__builtin__) (set|complex)"
    r"|torch (\w+Storage|Size|device|b?float\d+\w*|complex\d+|u?int\d+|bool)"
    r"|torch.storage UntypedStorage"
    r"|torch._utils _rebuild_(tensor_v2|tensor_v3|parameter)"
)


# The keys that lead to a value, the last one first: a path as text would be copied for each value.
Place = tuple[Any, Any] | None


class NotPlainError(ValueError):
    """What a checkpoint has that torch.save does not write."""


def check_archive(archive: zipfile.ZipFile) -> None:
    """Raises NotPlainError unless an archive is as torch writes it, and before it is unpacked."""
    records = archive.infolist()
    if any(record.compress_type != zipfile.ZIP_STORED for record in records):
        raise NotPlainError("its records are compressed")
    if len({record.filename for record in records}) < len(records):
        raise NotPlainError("it has two records of one name")
    if len({record.filename.partition("/")[0] for record in records}) > 1:
        raise NotPlainError("its records are not in one folder")
    for record in records:
        name = record.filename.partition("/")[2]
        if not RECORDS.fullmatch(name):
            raise NotPlainError(f"it has a record {record.filename[:SHOWN]}")
        if name == STRUCTURE:
            if record.file_size > STRUCTURE_BYTES:
                raise NotPlainError(f"its {STRUCTURE} has more than {STRUCTURE_BYTES:,} bytes")
            _check_classes(archive.read(record))


def _check_classes(structure: bytes) -> None:
    for code, argument, _ in pickletools.genops(structure):
        if code.name in ("GLOBAL", "INST") and not CLASSES.fullmatch(str(argument)):
            raise NotPlainError(f"it names {str(argument).replace(' ', '.')}")


def check_content(content: Any, path: Path) -> None:
    """Raises UserError unless a checkpoint's content takes no more memory than its file has bytes.

    A tensor may repeat a few numbers to any size, and lists may name each other.
    """
    waiting: list[tuple[Any, Place, int]] = [(content, None, 0)]
    values, tensor_bytes = 0, 0
    while waiting:
        value, place, depth = waiting.pop()
        values += 1
        if values > MOST_VALUES:
            raise UserError(f"{path}: it has more than {MOST_VALUES:,} values; no run saves these")
        if depth > DEEPEST:
            raise UserError(f"{path}: it is nested too deeply; no run saves this")
        if isinstance(value, Tensor):
            tensor_bytes += _bytes_of(value, path, place)
        elif isinstance(value, dict):
            waiting += [(item, (place, key), depth + 1) for key, item in value.items()]
        elif isinstance(value, list | tuple | set):
            waiting += [(item, place, depth + 1) for item in value]
        elif isinstance(value, int) and not -LARGEST_INT <= value < LARGEST_INT:
            raise UserError(f"{path}:{_words(place)} is a whole number beyond 64 bits")
        elif isinstance(value, torch.UntypedStorage | torch.TypedStorage):
            raise UserError(f"{path}:{_words(place)} is memory without a tensor; no run saves this")
    # Twice: tied weights are one tensor under two names.
    if tensor_bytes > 2 * path.stat().st_size:
        raise UserError(
            f"{path}: its tensors claim {tensor_bytes:,} bytes, far more than the file has"
        )


def check_plain(content: Any, path: Path) -> None:
    """Raises UserError unless a part of a checkpoint has plain values, as YAML can hold, and no
    tensors.

    The content has to be checked by `check_content` before.
    """
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            waiting += value.values()
        elif isinstance(value, list | tuple):
            waiting += value
        elif not isinstance(value, str | int | float | None):
            raise UserError(f"{path}: its hyper_parameters hold a {type(value).__name__}")


def _words(place: Place) -> str:
    """The keys that lead to a value, a space before each."""
    keys = []
    while place is not None:
        place, key = place
        keys.append(f" {key}"[:SHOWN])
    return "".join(reversed(keys))


def _bytes_of(tensor: Tensor, path: Path, place: Place) -> int:
    """The bytes of a tensor; raises UserError where it has fewer in memory."""
    size = math.prod(tensor.shape) * tensor.dtype.itemsize
    is_plain = tensor.layout is torch.strided and tensor.device.type == "cpu"
    if not is_plain or size > tensor.untyped_storage().nbytes():
        raise UserError(f"{path}:{_words(place)} is not a plain tensor with all of its numbers")
    return size
