"""The configuration: composed from conf/, turned into checked objects, its errors in one line.

Nothing heavy is imported here, so that --help and a mistyped key answer at once.
"""

import dataclasses
import os
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from minigpt.errors import UserError, nearest

CONF = Path(__file__).parent.parent / "conf"

# Hydra's own switch, as the user set it; a process started by another inherits what that one set.
_SWITCHED = "MINIGPT_SET_HYDRA_FULL_ERROR"
SHOW_TRACEBACKS = os.environ.get("HYDRA_FULL_ERROR") == "1" and _SWITCHED not in os.environ

# An environment variable, so that the jobs of every launcher know it: the keys that are swept.
SWEPT = "MINIGPT_SWEPT_KEYS"

_NOT_AN_OPTION = "Config group override must be"  # a plain ValueError of Hydra's

T = TypeVar("T")


def unique() -> str:
    """A folder name that two runs of one second do not share."""
    return f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{secrets.token_hex(2)}"


def _run_folder(name: str, resume: str | None) -> str:
    """A new folder below outputs/, or the run to resume."""
    return resume or f"outputs/{name}/{unique()}"


def _job_name(number: int, overrides: list[str]) -> str:
    """A sweep's job by its number and by what is swept: 3-lr=0.001,n_embd=128."""
    swept = os.environ.get(SWEPT, "").split("|")
    pairs = (override.lstrip("+").partition("=") for override in overrides)
    words = [f"{key.rpartition('.')[2]}={value}" for key, _, value in pairs if key in swept]
    name = f"{number}-{','.join(words)}" if words else f"{number}"
    return re.sub(r"[^\w.=,+-]", "_", name)[:120]  # a folder's name; the number tells it apart


OmegaConf.register_new_resolver("unique", unique, use_cache=True, replace=True)
OmegaConf.register_new_resolver("job_name", _job_name, replace=True)
OmegaConf.register_new_resolver("run_folder", _run_folder, use_cache=True, replace=True)


def share_cores() -> None:
    """Keeps a busy neighbour from slowing training tenfold; to be called before torch is imported.

    A thread that waits for another spins, and keeps the other from the core it was pushed off. By
    default it spins for milliseconds; this is some microseconds, and costs nothing on idle cores.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")


def compose_config(overrides: list[str]) -> DictConfig:
    """The configuration that `python train.py <overrides>` would run with."""
    running = GlobalHydra.instance().hydra  # there is one within a sweep
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose("train", overrides)
    finally:
        GlobalHydra.instance().hydra = running


def build(cls: type[T], section: str, node: Any, **extra: Any) -> T:
    """A checked config object from a config group.

    Raises UserError for a key the class does not know or lacks.
    """
    values = {**plain(node), **extra}
    names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for key in values:
        if key not in names:
            known = [f"{section}.{name}" for name in names]
            raise UserError(f"unknown key {section}.{key}{nearest(f'{section}.{key}', known)}")
    if missing := [name for name in names if name not in values]:
        raise UserError(f"{section}.{missing[0]} is missing; set it or choose a {section} group")
    return cls(**values)


def plain(node: Any) -> Any:
    """A config node as resolved dicts and lists; what is plain already, unchanged."""
    if not OmegaConf.is_config(node):
        return node
    return OmegaConf.to_container(node, resolve=True, throw_on_missing=True)


def load_run(folder: str, overrides: list[str]) -> DictConfig:
    """The configuration of a run to resume, with this start's `key=value` overrides on top.

    Raises UserError where the folder holds no run or an override names no key of its config.
    """
    path = Path(folder) / "config.yaml"
    if not path.is_file():
        raise UserError(f"resume={folder} is no run folder: it has no config.yaml")
    config = OmegaConf.load(path)
    assert isinstance(config, DictConfig)
    for override in OverridesParser.create().parse_overrides(overrides):
        key = override.key_or_group
        if key in ("resume", "hydra") or key.startswith("hydra."):
            continue
        if OmegaConf.select(config, key) is None and key not in _keys(config):
            raise UserError(f"unknown key {key}{nearest(key, _keys(config))}")
        if OmegaConf.is_config(OmegaConf.select(config, key)):
            raise UserError(
                f"{key}={override.value()}: a resumed run keeps its config groups; "
                f"override single keys, such as {key}.<name>=..."
            )
        OmegaConf.update(config, key, override.value())
    return config


def run_config(config: DictConfig) -> dict[str, Any]:
    """What config.yaml holds, resolved but for the places that move with the run folder."""
    resolved = plain(config)
    for key in ("callbacks", "logger"):
        resolved[key] = OmegaConf.to_container(config[key]) if config[key] else None
    return resolved


def save_run(config: DictConfig, folder: Path) -> None:
    """Writes a run's config.yaml."""
    folder.mkdir(parents=True, exist_ok=True)
    content = OmegaConf.to_yaml(OmegaConf.create(run_config(config)))
    (folder / "config.yaml").write_text(content, "utf-8")


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
        like = nearest(key, _keys(compose_config([])))
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


def _keys(node: Any, prefix: str = "") -> list[str]:
    """Every dotted key below a config node, the groups' own names included."""
    found = []
    for key in node:
        dotted = f"{prefix}{key}"
        found.append(dotted)
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none():
            found += _keys(child, f"{dotted}.")
    return found
