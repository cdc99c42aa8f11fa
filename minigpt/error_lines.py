"""Errors that a user can mend, in one line on standard error."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf.errors import OmegaConfBaseException

from minigpt.config import CONF, compose_config, dotted_keys
from minigpt.errors import UserError, nearest

# Hydra's own switch, as the user set it; a process started by another inherits what that one set.
_SWITCHED = "MINIGPT_SET_HYDRA_FULL_ERROR"
SHOW_TRACEBACKS = os.environ.get("HYDRA_FULL_ERROR") == "1" and _SWITCHED not in os.environ

_NOT_AN_OPTION = "Config group override must be"  # a plain ValueError of Hydra's


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Prints what the user can mend as one line on standard error and exits with code 2."""
    if not SHOW_TRACEBACKS:
        # Else Hydra prints several lines of its own and exits.
        os.environ.update({"HYDRA_FULL_ERROR": "1", _SWITCHED: "1"})
    try:
        yield
    except (ValueError, HydraException, OmegaConfBaseException) as error:
        known = isinstance(error, UserError | HydraException | OmegaConfBaseException)
        if SHOW_TRACEBACKS or not (known or _NOT_AN_OPTION in str(error)):
            raise
        print(f"error: {explain(error)}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:  # while there is nothing to save yet, or no more
        print("stopped", file=sys.stderr)
        raise SystemExit(130) from None


def explain(error: BaseException) -> str:
    """What went wrong in one line, with the key most like one that is unknown."""
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    for cause in chain:
        if isinstance(cause, UserError):
            return str(cause)
    message = str(error)
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    first = lines[0] if lines else type(error).__name__
    if first.endswith(":") and len(lines) > 1:
        first = f"{first} {lines[1]}"
    if _NOT_AN_OPTION in first:
        groups = {path.name for path in CONF.iterdir() if path.is_dir()}
        given = [word for word in sys.argv[1:] if word.partition("=")[0] in groups]
        return f"{' '.join(given)}: a config group takes the name of an option, as in model=base"
    if isinstance(error, ConfigCompositionException) and "Could not override" in first:
        key = first.split("'")[1]
        if key.startswith("data.sources."):
            return f"{key} is not there yet; +{key}=... adds a source to the mixture"
        like = nearest(key, dotted_keys(compose_config([])))
        return f"unknown key {key}{like or '; python train.py --help lists the keys'}"
    if isinstance(error, ConfigCompositionException) and "Could not append" in first:
        return f"{first} (without the + to change it)"
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        options = error.options or []
        return f"{group}={name} is not one of {', '.join(options)}{nearest(name, options)}"
    if isinstance(error, OverrideParseException):
        return f"cannot read the argument {error.override!r}: {first}; use key=value"
    return first.strip()
