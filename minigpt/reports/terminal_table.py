"""The table that commands print: no lines, figures to the right."""

from rich.table import Table


def terminal_table(first: str, *others: str) -> Table:
    """An empty table with these columns; all but the first hold figures."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table
