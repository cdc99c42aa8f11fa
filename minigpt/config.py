"""Composes the configuration from conf/ and turns its groups into checked objects.

This file imports nothing heavy, so that --help and a mistyped key answer at once.
"""

import dataclasses
import os
import re
import secrets
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from minigpt.errors import UserError, nearest

_PACKAGE = Path(__file__).parent
# A wheel holds conf/ inside the package; in a checkout it stands beside it.
CONF = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent / "conf"

# The swept keys, in an environment variable, so that every launcher passes them to its jobs.
SWEPT = "MINIGPT_SWEPT_KEYS"

T = TypeVar("T")


def unique() -> str:
    """A folder name that differs even for two runs that start in the same second."""
    return f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{secrets.token_hex(2)}"


def _run_folder(name: str) -> str:
    """A new folder below outputs/."""
    return f"outputs/{name}/{unique()}"


def _job_name(number: int, overrides: list[str]) -> str:
    """The folder of a sweep's job, from its number and swept keys: 3-lr=0.001,n_embd=128."""
    swept = os.environ.get(SWEPT, "").split("|")
    pairs = (override.lstrip("+").partition("=") for override in overrides)
    words = [f"{key.rpartition('.')[2]}={value}" for key, _, value in pairs if key in swept]
    name = f"{number}-{','.join(words)}" if words else f"{number}"
    return re.sub(r"[^\w.=,+-]", "_", name)[:120]  # cut short, it is still unique by its number


def _network_name(n_layer: int, n_embd: int, start: str | None) -> str:
    """A network's shape, such as 2x128, or the name of the folder that model.from names."""
    return f"{n_layer}x{n_embd}" if start is None else re.sub(r"[^\w.-]", "_", Path(start).name)


def _with_gpt2(tokenizer: str | None, n_vocab: int) -> int | None:
    """A number of ids that suits GPT-2's tokenizer; with any other it is not known yet."""
    return n_vocab if tokenizer == "gpt2" else None


OmegaConf.register_new_resolver("with_gpt2", _with_gpt2, replace=True)
OmegaConf.register_new_resolver("unique", unique, use_cache=True, replace=True)
OmegaConf.register_new_resolver("job_name", _job_name, replace=True)
OmegaConf.register_new_resolver("network_name", _network_name, replace=True)
OmegaConf.register_new_resolver("run_folder", _run_folder, use_cache=True, replace=True)


def share_cores() -> None:
    """Shortens OpenMP's spin-waits; call it before torch is imported.

    A waiting thread spins for milliseconds by default. On a shared machine that keeps the thread
    it waits for off the core and slows training tenfold. Some microseconds cost nothing elsewhere.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")


def compose_config(
    overrides: list[str], name: str = "train", *, hydra_too: bool = False
) -> DictConfig:
    """The configuration that `python train.py <overrides>` would run with.

    Within a run or a sweep it is searched for where that searches, --config-dir included.
    hydra_too: keep the section of Hydra's own settings.
    """
    if GlobalHydra.instance().is_initialized():
        return compose(name, overrides, hydra_too)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(name, overrides, hydra_too)


def refuse_resume(config: DictConfig, reason: str) -> None:
    """Raise UserError if a composed configuration has `resume`, which would do nothing there."""
    if (folder := config.get("resume")) is not None:
        raise UserError(f"resume={folder}: {reason}; leave it out")


def build(cls: type[T], section: str, node: Any, **extra: Any) -> T:
    """A checked config object from a config group; keys of its READ_ELSEWHERE are left out.

    Raises UserError for a key that the class does not have, or that is missing.
    """
    elsewhere = getattr(cls, "READ_ELSEWHERE", ())
    node = plain(node)
    if not isinstance(node, dict):
        raise UserError(f"{section} must be a group of keys, got {node!r}")
    values = {key: value for key, value in node.items() if key not in elsewhere} | extra
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    names = [field.name for field in fields]
    for key in values:
        if key not in names:
            known = [f"{section}.{name}" for name in (*names, *elsewhere)]
            raise UserError(f"unknown key {section}.{key}{nearest(f'{section}.{key}', known)}")
    needed = [f.name for f in fields if f.default is f.default_factory is dataclasses.MISSING]
    if missing := [name for name in needed if name not in values]:
        raise UserError(f"{section}.{missing[0]} is missing; set it or choose a {section} group")
    return cls(**values)


def field_defaults(cls: type[Any], section: str) -> dict[str, Any]:
    """Dotted key -> the default of its field: what an older configuration, without it, meant."""
    defaults: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        if field.default is not dataclasses.MISSING:
            defaults[f"{section}.{field.name}"] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            defaults[f"{section}.{field.name}"] = field.default_factory()
    return defaults


def plain(node: Any) -> Any:
    """A config node as resolved dicts and lists; anything else is returned unchanged."""
    if not OmegaConf.is_config(node):
        return node
    return OmegaConf.to_container(node, resolve=True, throw_on_missing=True)


def dotted_keys(node: Any, prefix: str = "") -> list[str]:
    """Every dotted key below a config node, including the names of groups."""
    keys = []
    for key in node:
        dotted = f"{prefix}{key}"
        keys.append(dotted)
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none():
            keys += dotted_keys(child, f"{dotted}.")
    return keys


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}; a list becomes text, and null the word null."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            plain_value = isinstance(value, bool | int | float | str)
            flat[f"{prefix}{key}"] = value if plain_value else _as_text(value)
    return flat


def _as_text(value: Any) -> str:
    return "null" if value is None else str(value)
