"""sha256 of files, remembered for those that have not changed since."""

import hashlib
import json
import os
import time
from pathlib import Path
from types import TracebackType

from minigpt.errors import UserError

# A file changed this recently can change again without its times telling; it is not remembered.
UNSETTLED_NS = 2_000_000_000


class FileDigests:
    """A cache beside the stores, so that a corpus of any size is known again at once.

    A file is taken for unchanged while its size, modification and status-change times are; the
    last cannot be set back by any tool.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            known = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            known = {}
        self._known: dict[str, list[int | str]] = known if isinstance(known, dict) else {}
        self._changed = False

    def __enter__(self) -> "FileDigests":
        return self

    def sha256(self, path: Path) -> str:
        """Of a file's bytes. Raises UserError where it cannot be read."""
        key = str(path.resolve())
        try:
            stat = path.stat()
            stamp = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
            known = self._known.get(key)
            if isinstance(known, list) and len(known) == 4 and known[:3] == stamp:
                return str(known[3])
            now = time.time_ns()
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from None
        if now - max(stat.st_mtime_ns, stat.st_ctime_ns) > UNSETTLED_NS:
            self._known[key] = [*stamp, found]
            self._changed = True
        return found

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._changed:
            return
        partial = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            partial.write_text(json.dumps(self._known), "utf-8")
            os.replace(partial, self.path)
        except OSError:  # without it the next start hashes again
            partial.unlink(missing_ok=True)
