"""What a run's config.yaml may hold: as much as a run writes, and nothing that reads elsewhere."""

import re
from typing import Any

import yaml
from yaml import AliasEvent

DEEPEST = 100  # brackets in one another: the parser needs minutes for a hundred thousand
PARTS = ("callbacks", "logger")  # whose values may name others


class NotPlainError(ValueError):
    """What a configuration has that no run writes."""


def check_text(text: str) -> None:
    """Raises NotPlainError for text that the parser would need minutes or much memory for."""
    if _depth(text) > DEEPEST:
        raise NotPlainError("it is nested too deeply")
    if "*" in text and any(isinstance(event, AliasEvent) for event in yaml.parse(text)):
        raise NotPlainError("it has YAML aliases")


def check_references(content: Any) -> None:
    """Raises NotPlainError for an interpolation, but for `${key}` in a callback or logger.

    Looks at the values and not at the text, since YAML has escapes.
    """
    waiting = [(content, False)]
    while waiting:
        value, is_part = waiting.pop()
        if isinstance(value, dict):
            waiting += [(key, False) for key in value]
            waiting += [
                (item, is_part or (value is content and key in PARTS))
                for key, item in value.items()
            ]
        elif isinstance(value, list):
            waiting += [(item, is_part) for item in value]
        elif isinstance(value, str) and "${" in value:
            reference = re.fullmatch(r"\$\{(\w+(\.\w+)*)\}", value)
            if not (is_part and reference and _is_scalar(content, reference[1].split("."))):
                raise NotPlainError(f"it has the interpolation {value[:100]}")


def _is_scalar(content: Any, keys: list[str]) -> bool:
    """True if the keys lead to a number or text outside of callbacks and loggers."""
    if keys[0] in PARTS:
        return False
    for key in keys:
        if not isinstance(content, dict) or key not in content:
            return False
        content = content[key]
    return not isinstance(content, dict | list)


def _depth(text: str) -> int:
    """How many brackets of a text are open at once, at most."""
    depth = deepest = 0
    for bracket in re.findall(r"[\[{\]}]", text):
        depth = depth + 1 if bracket in "[{" else max(0, depth - 1)
        deepest = max(deepest, depth)
    return deepest
