"""Durable checkpoint files: whole on disk or not there at all."""

import os
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.fabric.utilities.types import _PATH

from minigpt.errors import UserError


class DurableCheckpointIO(TorchCheckpointIO):
    """Writes a sibling file, syncs it, then renames it over the old one.

    Lightning stages in the temporary folder instead, which across file systems is a plain copy
    that a crash can leave half-done.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: _PATH, storage_options: Any | None = None
    ) -> None:
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        sibling = target.with_name(f".{target.name}.partial")
        try:
            with sibling.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(sibling, target)
        finally:
            sibling.unlink(missing_ok=True)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content on the CPU; nothing in the file is executed.

    Raises UserError where the file is missing or is no checkpoint of this project.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a file that is no checkpoint need not warn as well
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"no such checkpoint: {path}") from None
    except Exception as error:  # a damaged file fails in any way that unpickling can
        first_line = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path} is no readable checkpoint: {first_line}") from None
    if not isinstance(checkpoint, dict) or "model" not in checkpoint.get("hyper_parameters", {}):
        raise UserError(f"{path} is no minigpt checkpoint: it names no model")
    return checkpoint


def check_resumable(path: Path, hyper_parameters: dict[str, Any]) -> None:
    """Raises UserError unless a checkpoint's network and tokenizer are those of the run at hand."""
    saved = read_checkpoint(path)["hyper_parameters"]
    for section in ("model", "tokenizer"):
        for key, now in hyper_parameters[section].items():
            if (then := saved[section].get(key)) != now:
                raise UserError(
                    f"resume: the checkpoint has {section}.{key}={then}, this run asks for {now}; "
                    "a resumed run keeps its network and its text"
                )


def find_checkpoint(path: Path, which: str = "last") -> Path:
    """The checkpoint file that a path stands for: itself, or a run folder's last or best one."""
    if path.is_dir():
        inside = path / "checkpoints" / f"{which}.ckpt"
        if not inside.exists():
            raise UserError(f"{path} is no run folder with a checkpoint: it has no {inside}")
        return inside
    return path
