"""The progress bar of a preparation: MB/s, tokens, time left."""

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from minigpt.text.opening import BytesRead


class PreparationBar:
    """A bar on standard error if that is a terminal; else nothing."""

    def __init__(self, total_bytes: int | None, max_tokens: int | None) -> None:
        self.read = BytesRead()
        self._total_bytes = total_bytes
        self._max_tokens = max_tokens
        self._started = time.perf_counter()
        self._bar = Progress(
            TextColumn("preparing tokens"),
            BarColumn(24),
            TextColumn("{task.fields[rate]:.1f} MB/s  {task.fields[tokens]:,} tokens  left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        known = bool(total_bytes or max_tokens)
        self._task = self._bar.add_task("", total=1.0 if known else None, rate=0.0, tokens=0)

    def __enter__(self) -> "PreparationBar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, chars: int, train_tokens: int) -> None:
        """Shows how far the preparation is. The rate counts a character as a byte."""
        done = self.read.count / self._total_bytes if self._total_bytes else 0.0
        if self._max_tokens:
            done = max(done, train_tokens / self._max_tokens)
        rate = chars / (time.perf_counter() - self._started) / 1e6
        self._bar.update(self._task, completed=min(done, 1.0), rate=rate, tokens=train_tokens)
