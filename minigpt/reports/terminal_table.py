"""What commands print to: a console that files cannot command, and its table."""

from collections.abc import Iterator
from typing import Any

from rich.console import Console as RichConsole
from rich.segment import Segment
from rich.table import Table

from minigpt.shown_text import shown


class Console(RichConsole):
    """Prints names and texts as they are: no markup, and control characters as pictures."""

    def __init__(self) -> None:
        super().__init__(highlight=False, markup=False, emoji=False)

    def render(self, *args: Any, **kwargs: Any) -> Iterator[Segment]:
        for segment in super().render(*args, **kwargs):
            yield segment if segment.control else Segment(shown(segment.text), segment.style)


def terminal_table(first: str, *others: str) -> Table:
    """An empty table with these columns; all but the first hold figures. It has no lines."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table
