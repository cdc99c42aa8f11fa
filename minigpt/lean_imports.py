"""Imports of large libraries without what a run does not need; they decide how fast it starts."""

import gc
import importlib.metadata
import importlib.util
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import ModuleType
from typing import Any

# What Lightning takes from torchmetrics, and the modules that hold it.
_BASES = {"Metric": "torchmetrics.metric", "MetricCollection": "torchmetrics.collections"}


@contextmanager
def without_collection() -> Iterator[None]:
    """Turn the garbage collector off for a block of imports; the first block of a process counts.

    An import makes a million objects that stay, and the collector would walk them again and again:
    a quarter of the time that torch and Lightning take. Freezing spares later collections the walk.
    """
    if gc.get_freeze_count() or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def defer_torchmetrics() -> None:
    """Import the hundred metrics of torchmetrics when one of them is asked for.

    Lightning needs two base classes. Importing the package runs all its metrics, and with them
    scipy and transformers where they are installed: a third of the time until the first step.
    """
    if "torchmetrics" in sys.modules or (spec := importlib.util.find_spec("torchmetrics")) is None:
        return
    package = importlib.util.module_from_spec(spec)
    package.__dict__.update(
        __version__=importlib.metadata.version("torchmetrics"),
        _logger=logging.getLogger("torchmetrics"),
        __getattr__=partial(_attribute, package),
    )
    sys.modules["torchmetrics"] = package


def _attribute(package: ModuleType, name: str) -> Any:
    if name.startswith("__") and name != "__all__":  # Python probes every module for such names
        raise AttributeError(f"module {package.__name__!r} has no attribute {name!r}")
    if name in _BASES:
        with suppress(ImportError, AttributeError):  # another version: the whole package has it
            importlib.import_module("torchmetrics.utilities")  # it and .metric import each other
            return getattr(importlib.import_module(_BASES[name]), name)
    del package.__dict__["__getattr__"]
    assert package.__spec__ is not None
    assert package.__spec__.loader is not None
    package.__spec__.loader.exec_module(package)
    return getattr(package, name)
