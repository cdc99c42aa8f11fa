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
        kind = type(error).__name__
        raise UserError(
            f"{path} is no readable checkpoint ({kind}); it is damaged or another kind of file"
        ) from None
    if not isinstance(checkpoint, dict) or "model" not in checkpoint.get("hyper_parameters", {}):
        raise UserError(f"{path} is no minigpt checkpoint: it names no model")
    return checkpoint


def check_resumable(path: Path, now: dict[str, Any], max_epochs: int | None) -> None:
    """Raises UserError unless a run of hyper-parameters `now` can go on exactly from a checkpoint.

    Network, tokenizer, text and the order of batches must be the same, and an epoch left to train.
    """
    checkpoint = read_checkpoint(path)
    then = checkpoint["hyper_parameters"]
    for section in ("model", "tokenizer", "data", "seed"):
        was, wanted = _pairs(section, then[section]), _pairs(section, now[section])
        for key, value in wanted.items():
            if was.get(key) != value:
                raise UserError(
                    f"resume: the checkpoint has {key}={was.get(key)}, this run asks for {value}; "
                    "a resumed run keeps its network, its text and the order of its batches"
                )
    done = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    if max_epochs is not None and 0 <= max_epochs < done:
        raise UserError(
            f"trainer.max_epochs={max_epochs}: the run to resume has {done} epochs behind it; "
            "ask for more"
        )


def _pairs(section: str, values: Any) -> dict[str, Any]:
    if not isinstance(values, dict):
        return {section: values}
    return {f"{section}.{key}": value for key, value in values.items()}


def find_checkpoint(path: Path, which: str = "last") -> Path:
    """The checkpoint file that a path stands for: itself, or a run folder's last or best one."""
    if path.is_dir():
        inside = path / "checkpoints" / f"{which}.ckpt"
        if not inside.exists():
            raise UserError(
                f"{path} is no run folder with a {which} checkpoint: it has no {inside.name} "
                "(a run stopped before its first validation has only last.ckpt)"
            )
        return inside
    return path
