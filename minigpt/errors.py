"""What a user can mend: one error type, and the checks that raise it."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable
from typing import Any


class UserError(ValueError):
    """One line that names the key or file and the way out; shown without a traceback."""


def nearest(word: str, choices: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the choice most like word, or nothing."""
    found = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return f"; did you mean '{found[0]}'?" if found else ""


def check_choice(key: str, value: Any, choices: Iterable[Any]) -> None:
    """Raises UserError unless value is one of choices."""
    choices = list(choices)
    if not any(value == choice and type(value) is type(choice) for choice in choices):  # 1 == True
        names = [str(choice).lower() for choice in choices]
        raise UserError(
            f"{key}={value} is not one of {', '.join(names)}{nearest(str(value), names)}"
        )


def check_positive(section: str, config: Any, *names: str) -> None:
    """Raises UserError unless each named field is above zero."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not value > 0:
            raise UserError(f"{section}.{name} must be above 0, got {value}")


def check_types(section: str, config: Any) -> None:
    """Raises UserError unless every field of a dataclass holds a value of its annotated type."""
    hints = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value, hint = getattr(config, field.name), hints[field.name]
        allowed = _plain_types(hint)
        item = (typing.get_args(hint) or (None,))[0] if isinstance(value, list) else None
        if item and not all(_fits(element, (item,)) for element in value):
            raise UserError(
                f"{section}.{field.name} must be a list of {_names((item,))}, got {value!r}"
            )
        if not _fits(value, allowed):
            raise UserError(f"{section}.{field.name} must be {_names(allowed)}, got {value!r}")


def _fits(value: Any, allowed: tuple[type, ...]) -> bool:
    if isinstance(value, bool):
        return bool in allowed
    return isinstance(value, allowed) or (isinstance(value, int) and float in allowed)


def _names(allowed: tuple[type, ...]) -> str:
    words = {types.NoneType: "null", str: "text"}
    return " or ".join(words.get(t, t.__name__) for t in allowed)


def _plain_types(hint: Any) -> tuple[type, ...]:
    """The types that isinstance can test for, of `int`, `float | None`, `tuple[str, ...]`."""
    if isinstance(hint, types.UnionType):
        return tuple(t for arm in typing.get_args(hint) for t in _plain_types(arm))
    return (typing.get_origin(hint) or hint,)
