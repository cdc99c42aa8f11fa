"""JSON from files that another program, or another person, may have written."""

import json
from typing import Any

LARGEST_INT = 2**63


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises ValueError where it is not one, is nested too deeply, or has a whole number beyond 64
    bits, with which nothing here can reckon.
    """
    try:
        return json.loads(text, parse_int=_parse_int)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _parse_int(text: str) -> int:
    value = int(text)
    if not -LARGEST_INT <= value < LARGEST_INT:
        raise ValueError("it has a whole number beyond 64 bits")
    return value
