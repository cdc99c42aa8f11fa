"""Reading checkpoints: nothing in them is executed; an inexact resume is refused."""

import warnings
from pathlib import Path
from typing import Any

import torch

from minigpt.errors import UserError
from minigpt.runs.run_folder import RunFolder


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content on the CPU; nothing in the file is executed.

    Raises UserError where the file is missing or is not a checkpoint of this project.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the error below says all that the user needs
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"no such checkpoint: {path}") from None
    except Exception as error:  # unpickling a damaged file can fail in any way
        raise UserError(
            f"{path} is not a readable checkpoint ({type(error).__name__}); it is damaged or "
            "another kind of file"
        ) from None
    if not isinstance(checkpoint, dict) or "model" not in checkpoint.get("hyper_parameters", {}):
        raise UserError(f"{path} is not a minigpt checkpoint: it names no model")
    return checkpoint


def find_checkpoint(path: Path, which: str = "last") -> Path:
    """The checkpoint that a path stands for: the file itself, or a run folder's last or best.

    Raises UserError where the folder has no such checkpoint.
    """
    if not path.is_dir():
        return path
    run = RunFolder(path)
    checkpoint = {"last": run.last, "best": run.best}[which]
    if not checkpoint.exists():
        others = {"last": "best", "best": "last"}
        other = {"last": run.last, "best": run.best}[others[which]]
        hint = f"; it has {other.name} (--which {others[which]})" if other.exists() else ""
        raise UserError(f"{path} has no {checkpoint.name} in {run.checkpoints.name}/{hint}")
    return checkpoint


def check_resumable(checkpoint: dict[str, Any], hyper_parameters: dict[str, Any]) -> None:
    """Raises UserError unless a run with these hyper-parameters goes on exactly from a checkpoint.

    Network, tokenizer, text and the order of batches must be the same.
    """
    saved = checkpoint["hyper_parameters"]
    for section in ("model", "tokenizer", "data", "seed"):
        before = _flat(section, saved[section])
        for key, value in _flat(section, hyper_parameters[section]).items():
            if before.get(key) != value:
                raise UserError(
                    f"resume: the checkpoint has {key}={before.get(key)}, this run asks for "
                    f"{value}; a resumed run keeps its network, its text and the order of its "
                    "batches"
                )


def _flat(section: str, values: Any) -> dict[str, Any]:
    if not isinstance(values, dict):
        return {section: values}
    return {f"{section}.{key}": value for key, value in values.items()}
