"""The sha256 of files, remembered while they stay unchanged, and whether they did."""

import contextlib
import hashlib
import json
import time
from pathlib import Path
from types import TracebackType

from minigpt.atomic_file import write_file
from minigpt.errors import UserError
from minigpt.json_text import parse_json
from minigpt.ordinary_file import check_ordinary

# A file that changed this recently could change again within one tick of its file system's clock.
UNSETTLED_NS = 2_000_000_000


class TextChangedError(UserError):
    """A file changed after its digest was taken, so its text is not the one that was named."""


class FileDigests:
    """A cache of digests in a file beside the stores, so that a large corpus is recognised at once.

    A file counts as unchanged while its size, modification time and status-change time stay as
    they are. No tool can set the last one back.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            cache = parse_json(path.read_text("utf-8"))
        except (OSError, ValueError):
            cache = {}
        self._cache: dict[str, list[int | str]] = cache if isinstance(cache, dict) else {}
        self._changed = False
        self._stamps: dict[Path, list[int]] = {}  # of everything asked about

    def __enter__(self) -> "FileDigests":
        return self

    def sha256(self, path: Path) -> str:
        """The digest of a file's bytes. Raises UserError where it cannot be read."""
        key = str(path.resolve())
        stamp = self.watch(path)
        cached = self._cache.get(key)
        if isinstance(cached, list) and len(cached) == 4 and cached[:3] == stamp:
            return str(cached[3])
        now = time.time_ns()
        try:
            check_ordinary(path)
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from None
        if now - max(stamp[1:]) > UNSETTLED_NS:
            self._cache[key] = [*stamp, digest]
            self._changed = True
        return digest

    def watch(self, path: Path) -> list[int]:
        """Remembers the size and times of a file or folder for `check_unchanged`."""
        try:
            stamp = _stamp(path)
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from None
        return self._stamps.setdefault(path, stamp)

    def check_unchanged(self) -> None:
        """Raises TextChangedError if a file has changed since its digest was first asked for.

        Called after the text was read, this finds a file that was overwritten meanwhile, even if
        it was put back.
        """
        for path, stamp in self._stamps.items():
            try:
                same = _stamp(path) == stamp
            except OSError:
                same = False
            if not same:
                raise TextChangedError(
                    f"{path} was changed while it was read, so nothing is kept; run the same "
                    "command again when nothing writes to it"
                )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._changed:
            return
        with contextlib.suppress(UserError):  # without the cache the next start hashes again
            write_file(self.path, json.dumps(self._cache))


def _stamp(path: Path) -> list[int]:
    """Size, modification time and status-change time."""
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
