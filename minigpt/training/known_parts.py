"""Makes the callbacks and loggers of a configuration, all of them or only our own classes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from minigpt.config import plain
from minigpt.errors import UserError
from minigpt.training.callbacks.alignment_guard import AlignmentGuard
from minigpt.training.callbacks.checkpoints import BestCheckpoint, LastCheckpoint
from minigpt.training.callbacks.early_stopping import EarlyStopping
from minigpt.training.callbacks.interruption import Interruption
from minigpt.training.callbacks.progress import ProgressBar
from minigpt.training.callbacks.samples import TextSamples
from minigpt.training.callbacks.stop_after import StopAfter
from minigpt.training.callbacks.weight_average import WeightAverage
from minigpt.training.csv_logger import MetricsCSV
from minigpt.training.tensorboard_logger import TensorBoardEvents

KNOWN = (AlignmentGuard, BestCheckpoint, EarlyStopping, Interruption, LastCheckpoint, MetricsCSV,
         ProgressBar, StopAfter, TensorBoardEvents, TextSamples, WeightAverage)  # fmt: skip
TARGETS = {
    *(f"{cls.__module__}.{cls.__qualname__}" for cls in KNOWN),
    "lightning.pytorch.loggers.TensorBoardLogger",  # of older runs
}


TRUSTED = {
    *TARGETS,
    "lightning.pytorch.loggers.MLFlowLogger",
    "lightning.pytorch.loggers.WandbLogger",
    "lightning.pytorch.callbacks.DeviceStatsMonitor",
    "lightning.pytorch.callbacks.LearningRateMonitor",
    "lightning.pytorch.callbacks.Timer",
}

# The keys of a part that name where it writes. In a run's config.yaml that is its own folder.
FOLDERS = ("run_dir", "folder", "save_dir")
# All keys of the loggers that a run's config.yaml alone may set: others name servers and folders.
TENSORBOARD = ("TensorBoardEvents", "TensorBoardLogger")
LOGGER_KEYS = {
    **{key: {"save_dir", "name", "version", "default_hp_metric"} for key in TENSORBOARD},
    "WandbLogger": {"save_dir", "project", "name", "offline", "tags", "notes", "group"},
    "MLFlowLogger": {"experiment_name", "run_name", "tracking_uri"},
}
# Keys of `trainer` with which Lightning would write elsewhere or take in other code.
OTHER_PLACES = ("default_root_dir", "plugins", "profiler", "logger", "callbacks")
LOCAL_MLFLOW = "sqlite:///outputs/mlflow.db"  # as conf/logger/mlflow.yaml has it

# Loggers whose package is not installed with minigpt, and the extra that brings it.
EXTRAS = {"WandbLogger": "wandb", "MLFlowLogger": "mlflow"}


def make_parts(group: str, nodes: Any) -> list[Any]:
    """Every callback or logger of a config group; this runs whatever code `_target_` names.

    Raises UserError for a part without a `_target_`, or one whose package is not installed.
    """
    return [_make(f"{group}.{name}", node) for name, node in (plain(nodes) or {}).items()]


def _make(key: str, node: Any) -> Any:
    if not isinstance(node, dict) or "_target_" not in node:
        raise UserError(f"{key} has no _target_; +{key}._target_=MODULE.CLASS says what to make")
    try:
        return instantiate(node)
    except InstantiationException as error:
        extra = EXTRAS.get(str(node["_target_"]).rpartition(".")[2])
        if extra and isinstance(error.__cause__, ModuleNotFoundError):
            raise UserError(
                f"{key} needs the package {extra}, which is not installed: "
                f"pip install 'minigpt[{extra}]'"
            ) from None
        raise


def refuse_unknown_parts(config: Any, typed: Sequence[str], path: Path) -> None:
    """Raises UserError for a part of a run's config.yaml that is not of TRUSTED classes, or that
    would write outside the run's folder or send what it learns elsewhere, as a mirror does.

    The folder may be another's, and making a part runs what it names. typed: the keys that this
    start's user set; a part or place that they name themselves is theirs.
    """
    for group in ("callbacks", "logger"):
        for name, node in (plain(config.get(group)) or {}).items():
            key = f"{group}.{name}"
            target = node.get("_target_") if isinstance(node, dict) else node
            is_named = f"{key}._target_" in typed
            targets = {*TRUSTED, target} if is_named else TRUSTED
            if key in typed:
                continue
            if not isinstance(node, dict) or not _is_plain(node, targets):
                raise UserError(
                    f"{path}: {key} names {target}, which a resume would run; if it is yours, say "
                    f"so again with '{key}._target_={target}', else leave this folder alone"
                )
            if not is_named:
                _refuse_other_places(key, node, typed, path)
    if (mirror := config.get("mirror")) is not None and "mirror" not in typed:
        raise UserError(
            f"{path}: mirror={mirror} would copy the run there; if it is yours, say so again with "
            f"'mirror={mirror}', else with mirror=null"
        )
    for key in OTHER_PLACES:
        if config.trainer.get(key) is not None and f"trainer.{key}" not in typed:
            raise UserError(
                f"{path}: trainer.{key}={config.trainer[key]} is not part of a run's own "
                f"configuration; if it is yours, say so again, else leave this folder alone"
            )


def _refuse_other_places(key: str, node: dict[str, Any], typed: Sequence[str], path: Path) -> None:
    run_dir, logger = str(path.parent), str(node["_target_"]).rpartition(".")[2]
    keys = LOGGER_KEYS.get(logger)
    names = ("name", "version") if logger in TENSORBOARD else ()  # of folders
    for name, value in node.items():
        if f"{key}.{name}" in typed or name == "_target_":
            continue
        is_within = (
            (keys is None or name in keys)
            and (name not in FOLDERS or value == run_dir)
            and (name not in names or _is_name(str(value or "")))
            and (name != "tracking_uri" or value == LOCAL_MLFLOW)
        )
        if not is_within:
            raise UserError(
                f"{path}: {key}.{name}={value} leads out of the run's folder; if it is yours, say "
                f"so again with '{key}.{name}=...', else leave this folder alone"
            )


def _is_name(text: str) -> bool:
    """True if text names a folder within another, or that folder itself."""
    return Path(text).name == text and text != ".."


def make_known_parts(group: str, nodes: Any) -> tuple[list[Any], list[str]]:
    """The parts of our own classes, and the keys of the others, which are not made.

    Making a part checks its values. Nothing that a configuration names is imported or called.
    """
    parts, unknown = [], []
    for name, node in (plain(nodes) or {}).items():
        if isinstance(node, dict) and _is_known(node):
            parts.append(instantiate(node))
        else:
            unknown.append(f"{group}.{name}")
    return parts, unknown


def _is_known(node: dict[str, Any]) -> bool:
    """True if instantiate() would call one of our classes with plain values and nothing else."""
    return _is_plain(node, TARGETS)


def _is_plain(node: dict[str, Any], targets: set[Any]) -> bool:
    """The same for other classes than ours."""
    values = [value for key, value in node.items() if key != "_target_"]
    hidden = [key for key in node if key.startswith("_") and key != "_target_"]
    return node.get("_target_") in targets and not hidden and not any(map(_has_target, values))


def _has_target(value: Any) -> bool:
    if isinstance(value, dict):
        return "_target_" in value or any(map(_has_target, value.values()))
    return isinstance(value, list) and any(map(_has_target, value))
