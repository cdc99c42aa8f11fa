"""Content of files with one value changed: missing, of another type, or beyond all range."""

import math

MISSING = object()
WRONG = [MISSING, None, -1, math.nan, math.inf, "5", True, [], {}, [1], {"a": 1}, 10**30, 1e300]


def places(content, path=()):
    """The path of every value, of a list's the first only."""
    items = content.items() if isinstance(content, dict) else enumerate(content[:1])
    for key, value in items:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


def changed(content, path, value):
    """A copy in which the value at a path is another, or missing."""
    key, *rest = path
    new = content.copy()
    if rest:
        new[key] = changed(content[key], rest, value)
    elif value is MISSING:
        del new[key]
    else:
        new[key] = value
    return new


def accepted(content, read, refused, values=WRONG):
    """(path, value) of each change that `read` takes; the others have to raise `refused`."""
    taken = set()
    for place in places(content):
        for value in values:
            try:
                read(changed(content, place, value))
            except refused:
                continue
            taken.add((".".join(map(str, place)), "missing" if value is MISSING else repr(value)))
    return taken
