"""Errors that the user can fix: one exception type, and the checks of config values that raise it.

A key is named with its config section, as in `model.n_layer`.
"""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any


class UserError(ValueError):
    """A mistake of the user: one line that names the key or file and says how to fix it.

    The commands print it without a traceback and exit with code 2.
    """


def reason_of(error: Exception) -> str:
    """Why a file cannot be read: the system's reason, else the kind of the error."""
    return getattr(error, "strerror", None) or type(error).__name__


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what led to it, the newest first; also where they lead back to each other."""
    seen: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and not any(at is one for one in seen):
        yield at
        seen.append(at)
        at = at.__cause__ or at.__context__


def nearest(word: str, choices: Iterable[str]) -> str:
    """`; did you mean 'x'?` with the choice most similar to word, or "" if none is similar."""
    matches = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return f"; did you mean '{matches[0]}'?" if matches else ""


def check_choice(key: str, value: Any, choices: Iterable[Any]) -> None:
    """Raise UserError unless value is one of choices, with the same type: 1 is not true."""
    choices = list(choices)
    if not any(value == choice and type(value) is type(choice) for choice in choices):
        names = [str(choice).lower() for choice in choices]
        raise UserError(
            f"{key}={value} is not one of {', '.join(names)}{nearest(str(value), names)}"
        )


def check_positive(section: str, config: Any, *names: str) -> None:
    """Raise UserError unless each named field is above 0 or None."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not value > 0:
            raise UserError(f"{section}.{name} must be above 0, got {value}")


def check_at_most(section: str, config: Any, limits: Mapping[str, int]) -> None:
    """Raise UserError for a named field above its limit: it would hang, or end in a traceback."""
    for name, limit in limits.items():
        value = getattr(config, name)
        if value is not None and value > limit:
            raise UserError(f"{section}.{name} must be at most {limit:,}, got {value:,}")


def check_types(section: str, config: Any) -> None:
    """Raise UserError unless every field of a dataclass holds a value of its annotated type.

    An int is accepted as a float; a bool is not accepted as an int. Lists are checked item by item.
    A number has to be finite.
    """
    hints = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value, hint = getattr(config, field.name), hints[field.name]
        allowed = _runtime_types(hint)
        is_list = isinstance(value, list) and typing.get_origin(hint) is list
        item_type = typing.get_args(hint)[0] if is_list else None
        if item_type and not all(_has_type(item, (item_type,)) for item in value):
            raise UserError(
                f"{section}.{field.name} must be a list of {_describe((item_type,))}, got {value!r}"
            )
        if not _has_type(value, allowed):
            raise UserError(f"{section}.{field.name} must be {_describe(allowed)}, got {value!r}")
        check_finite_number(f"{section}.{field.name}", value)


def check_finite_number(key: str, value: Any) -> None:
    """Raise UserError for an infinity or NaN, also in a list; other values pass."""
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, float) and not math.isfinite(item):
            raise UserError(f"{key} must be a finite number, got {item}")


def _has_type(value: Any, allowed: tuple[type, ...]) -> bool:
    if isinstance(value, bool):  # bool is a subclass of int
        return bool in allowed
    return isinstance(value, allowed) or (isinstance(value, int) and float in allowed)


def _describe(allowed: tuple[type, ...]) -> str:
    """The types in the words of YAML, such as `int or null`."""
    words = {types.NoneType: "null", str: "text"}
    return " or ".join(words.get(t, t.__name__) for t in allowed)


def _runtime_types(hint: Any) -> tuple[type, ...]:
    """The classes of a type hint for isinstance: (float, NoneType) for `float | None`."""
    if isinstance(hint, types.UnionType):
        return tuple(t for arm in typing.get_args(hint) for t in _runtime_types(arm))
    return (typing.get_origin(hint) or hint,)
