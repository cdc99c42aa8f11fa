"""Whether a record of a store's JSON files has the texts and counts that belong there."""

from collections.abc import Iterable
from typing import Any

LARGEST_COUNT = 2**63


def check_record(
    record: Any, place: str, texts: Iterable[str] = (), counts: Iterable[str] = ()
) -> None:
    """Raises ValueError unless a record has these texts and these numbers of things."""
    if not isinstance(record, dict):
        raise ValueError(f"{place} is not a record")
    for key in (*texts, *counts):
        if key not in record:
            raise ValueError(f"{place} has no {key}")
    for key in texts:
        if not isinstance(record[key], str):
            raise ValueError(f"{place} has a {key} that is not text")
    for key in counts:
        if type(record[key]) is not int or not 0 <= record[key] < LARGEST_COUNT:
            raise ValueError(f"{place} has a {key} that is not a count")
