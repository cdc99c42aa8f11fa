"""Prints errors that a user can fix as one line on standard error."""

import inspect
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.core.hydra_config import HydraConfig
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from hydra.types import RunMode
from omegaconf.errors import OmegaConfBaseException

from minigpt.atomic_file import WAY_OUT
from minigpt.command_lines import quoted_override, unclosed_bracket
from minigpt.config import CONF, compose_config, dotted_keys
from minigpt.errors import UserError, causes, nearest
from minigpt.shown_text import on_one_line

# Hydra's switch, as the user set it. A child process inherits our setting and this mark with it.
_SWITCHED = "MINIGPT_SET_HYDRA_FULL_ERROR"
SHOW_TRACEBACKS = os.environ.get("HYDRA_FULL_ERROR") == "1" and _SWITCHED not in os.environ

EXTRAS = ("joblib", "optuna", "ray", "submitit")  # Hydra's plugins, as pyproject.toml names them

PARTS = {"callbacks": "a callback", "logger": "a logger"}  # groups with a part for each key

# As torch and C++ say it.
_NO_MEMORY = re.compile("can't allocate memory|std::bad_alloc|Cannot allocate memory")
# As torch says it of CUDA, HIP and MPS.
_NO_DEVICE_MEMORY = re.compile("out of memory")

_NOT_AN_OPTION = "Config group override must be"  # Hydra raises a plain ValueError for it


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Prints an error that the user can fix as one line and exits with code 2.

    HYDRA_FULL_ERROR=1 in the environment shows the traceback instead.
    """
    if not SHOW_TRACEBACKS:
        # Otherwise Hydra prints several lines and exits.
        os.environ.update({"HYDRA_FULL_ERROR": "1", _SWITCHED: "1"})
    previous, threading.excepthook = threading.excepthook, _thread_ended
    try:
        yield
    except Exception as error:
        if SHOW_TRACEBACKS or not _can_be_fixed(error):
            raise
        print(f"error: {on_one_line(explain(error))}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:  # before or after training: nothing to save
        print("stopped", file=sys.stderr)
        raise SystemExit(130) from None
    finally:
        threading.excepthook = previous


def _thread_ended(error: threading.ExceptHookArgs) -> None:
    """Say nothing of a disk error in a thread: TensorBoard's raises it again in the main thread."""
    if SHOW_TRACEBACKS or not isinstance(error.exc_value, OSError):
        threading.__excepthook__(error)


def _can_be_fixed(error: Exception) -> bool:
    """True for a mistake of the user or of the file system, False for one of this program."""
    if isinstance(error, UserError | HydraException | OmegaConfBaseException):
        return True
    if isinstance(error, OSError):
        return error.errno is not None
    if _too_little_memory(error):
        return True
    return isinstance(error, ValueError) and _NOT_AN_OPTION in str(error)


def explain(error: BaseException) -> str:
    """An error in one line, with the most similar key for a key that does not exist."""
    for cause in causes(error):
        if isinstance(cause, UserError):
            return str(cause)
    if reason := _too_little_memory(error):
        return reason
    if isinstance(error, OSError) and error.errno is not None:
        return f"{error.filename or _some_file()}: {error.strerror}; {WAY_OUT}"
    return _explain_hydra(error)


def _some_file() -> str:
    """What an error without a path is about: Hydra writes a file of its own in a sweep's folder."""
    if HydraConfig.initialized() and HydraConfig.get().mode is RunMode.MULTIRUN:
        return f"a file in {HydraConfig.get().sweep.dir}"
    return "a file"


def _too_little_memory(error: BaseException) -> str | None:
    """That there is too little memory, in one line; None for another error."""
    first = str(error).partition("\n")[0]
    is_torchs = isinstance(error, RuntimeError) and _NO_MEMORY.search(first)
    if isinstance(error, RuntimeError) and _NO_DEVICE_MEMORY.search(first):
        return (
            "the device is out of memory; trainer.auto_accumulate=true computes a batch in parts "
            "that fit, or use a smaller data.batch_size, data.eval_batch_size or model"
        )
    if isinstance(error, MemoryError) or is_torchs:
        return (
            "there is not enough memory; use a smaller data.batch_size or model, or let the "
            "process have more (ulimit -v, the limits of a container or job)"
        )
    return None


def _explain_hydra(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first = lines[0] if lines else type(error).__name__
    if first.endswith(":") and len(lines) > 1:
        first = f"{first} {lines[1]}"
    if _NOT_AN_OPTION in first:
        groups = {path.name for path in CONF.iterdir() if path.is_dir()}
        words = [word for word in sys.argv[1:] if word.partition("=")[0] in groups]
        return f"{' '.join(words)}: a config group takes the name of an option, as in model=base"
    if isinstance(error, ConfigCompositionException) and "Could not override" in first:
        return _unknown_key(first.split("'")[1])
    if isinstance(error, ConfigCompositionException) and "Could not append" in first:
        return f"{first} (without the + to change it)"
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        options = error.options or []
        extra = name.partition("_")[0]  # of submitit_local, submitit_slurm
        if extra in EXTRAS and not any(option.startswith(extra) for option in options):
            return (
                f"{group}={name} needs a package that is not installed: "
                f"pip install 'minigpt[{extra}]'"
            )
        return f"{group}={name} is not one of {', '.join(options)}{nearest(name, options)}"
    if isinstance(error, OverrideParseException):
        quoted = quoted_override(error.override)
        if bracket := unclosed_bracket(error.override):
            text = f", or write {quoted} if it is text" if quoted else ""
            return f"cannot read the argument {error.override!r}: close its {bracket}{text}"
        if quoted:
            return f"cannot read the argument {error.override!r}; write it as {quoted}"
        return f"cannot read the argument {error.override!r}: {first}; use key=value"
    if "Ambiguous value for argument" in first:
        return f"{first}; use -m for a sweep, or quote the value"
    return first


def _unknown_key(key: str) -> str:
    if key.startswith("data.sources."):
        return f"{key} does not exist yet; +{key}=... adds a source to the mixture"
    group, _, name = key.partition(".")
    if group == "trainer":
        from lightning.pytorch import Trainer  # an error may take a while

        if name in inspect.signature(Trainer).parameters:
            return f"{key} is an argument of Lightning's Trainer; +{key}=... adds it"
    config = compose_config([])
    part = name.partition(".")[0]
    if group in PARTS and part not in (config[group] or {}):
        names = list(config[group] or {})
        if (CONF / group / f"{part}.yaml").exists():
            way_out = f"; {group}={part} adds it"
        else:
            way_out = nearest(part, names)
        return f"{group}.{part} is not {PARTS[group]} of this run: {', '.join(names)}{way_out}"
    like = nearest(key, dotted_keys(config))
    return f"unknown key {key}{like or '; python train.py --help lists the keys'}"
