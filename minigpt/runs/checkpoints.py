"""Reads checkpoints that are whole, executes nothing in them, and refuses an inexact resume."""

import dataclasses
import shutil
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from minigpt.errors import UserError, reason_of
from minigpt.model.gpt import GPTConfig
from minigpt.ordinary_file import check_ordinary
from minigpt.runs.checkpoint_limits import (
    NotPlainError,
    check_archive,
    check_content,
    check_plain,
)
from minigpt.runs.run_folder import RunFolder

# Where the dicts of a checkpoint lie that every reader of one needs.
PARTS = (
    ("hyper_parameters", "model"),
    ("hyper_parameters", "tokenizer"),
    ("hyper_parameters", "data"),
    ("state_dict",),
)
# Where weights are averaged, `state_dict` is the average and this key has what training goes on
# with.
RAW_WEIGHTS = "raw_state_dict"
# The key of a checkpoint of divided weights, whose tensors lie in other files.
SHARDS = "shards"


class ForbiddenError(UserError):
    """A checkpoint that may be whole, but this user is not allowed to read it."""


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content on the CPU, with all tensors; nothing in its files is executed.

    Raises UserError where a file is missing, damaged, or not that of a checkpoint of this project.
    """
    checkpoint = read_content(path)
    if SHARDS not in checkpoint:
        return checkpoint
    # Imported only now: it takes a second.
    from minigpt.runs.sharded_checkpoint import read_tensors, with_tensors

    return with_tensors(checkpoint, read_tensors(path, checkpoint))


def read_content(path: Path) -> dict[str, Any]:
    """The same, but with keys in the places of tensors that lie in other files.

    They do where the checkpoint has SHARDS.
    """
    try:
        check_whole(path)
    except ForbiddenError:
        raise
    except UserError as damage:
        raise UserError(f"{damage}{_beside(path)}") from None
    checkpoint = _load(path)
    check_form(checkpoint, path)
    return dict(checkpoint)


def check_form(content: Any, path: Path) -> None:
    """Raises UserError unless a file's content has what every reader of a checkpoint needs."""
    if (missing := _missing_part(content)) is not None:
        raise UserError(f"{path} is not a minigpt checkpoint: it has no {missing}")
    check_plain(content["hyper_parameters"], path)


def _load(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the error below says all that the user needs
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling another program's file can fail in any way
        raise _unreadable(path, error) from None
    check_content(content, path)
    return content


def check_whole(path: Path) -> None:
    """Raises UserError unless all of a checkpoint has the checksums that it was saved with."""
    _check_records(path)
    if shards_folder(path).is_dir() and SHARDS in (content := _load(path)):
        from minigpt.runs.sharded_checkpoint import ShardReader

        ShardReader(path, content).check_files()


def _check_records(path: Path) -> None:
    """A checkpoint is a zip archive: torch writes each record's CRC-32, but never reads it."""
    try:
        check_ordinary(path)
        with zipfile.ZipFile(path) as archive:
            check_archive(archive)
            record = archive.testzip()
    except FileNotFoundError:
        raise UserError(f"no such checkpoint: {path}") from None
    except NotPlainError as reason:
        raise UserError(
            f"{path} is not a checkpoint that minigpt saved: {reason}; leave it alone"
        ) from None
    except PermissionError as error:
        raise ForbiddenError(f"{path} cannot be read ({error.strerror})") from None
    except Exception as error:  # a damaged archive can fail in any way
        raise _unreadable(path, error) from None
    if record is not None:
        raise UserError(f"{path} is damaged: the checksum of its {record} is wrong")


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(
        f"{path} is not a readable checkpoint ({reason_of(error)}); it is damaged or another "
        "kind of file"
    )


def _beside(path: Path) -> str:
    """Where to look instead of a damaged checkpoint of a run."""
    other = {"last.ckpt": "best.ckpt", "best.ckpt": "last.ckpt"}.get(path.name)
    if other is None or not path.with_name(other).exists():
        return ""
    return f"; {other} beside it may be whole"


def _missing_part(checkpoint: Any) -> str | None:
    """What a checkpoint of this project has and this content lacks; None where it has all."""
    for keys in PARTS:
        content = checkpoint
        for key in keys:
            content = content.get(key) if isinstance(content, dict) else None
        if not isinstance(content, dict):
            return " ".join(keys)
    if not isinstance(checkpoint["hyper_parameters"]["data"].get("text"), str):
        return "fingerprint of its text"
    return None


def shards_folder(checkpoint: Path) -> Path:
    """Where the tensors of a checkpoint of divided weights lie, each version in its own folder."""
    return checkpoint.with_suffix(".shards")


def remove_old_shards(path: Path, checkpoint: dict[str, Any]) -> None:
    """Remove the tensors that a checkpoint, as it is at its path now, does not name."""
    folder = shards_folder(path)
    if not folder.is_dir():
        return
    for version in folder.iterdir():
        if version.name != checkpoint.get(SHARDS, {}).get("folder"):
            shutil.rmtree(version)
    if SHARDS not in checkpoint:
        folder.rmdir()


def find_checkpoint(path: Path, which: str = "last") -> Path:
    """The checkpoint at a path: the file itself, or the last or best of a run folder.

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


def checkpoint_to_resume(run: RunFolder) -> tuple[Path, str]:
    """The newest whole checkpoint of a run, and what is to be said if that is not its last.

    Raises UserError where the run has none.
    """
    problems = []
    for path in (run.last, run.best):
        try:
            check_whole(path)
        except ForbiddenError:
            raise
        except UserError as problem:
            problems.append(str(problem))
        else:
            said = "; ".join([*problems, f"the run goes on from {path.name}"])
            return path, said if problems else ""
    if not run.last.exists() and not run.best.exists():
        raise UserError(
            f"resume={run.path}: the run has no {run.checkpoints.name}/{run.last.name} yet, so "
            "there is nothing to continue; start it again without resume="
        )
    raise UserError("; ".join(problems))


def check_resumable(checkpoint: dict[str, Any], hyper_parameters: dict[str, Any]) -> None:
    """Raises UserError unless a run with these hyper-parameters continues a checkpoint exactly.

    Network, tokenizer, text and the order of batches must be the same.
    """
    saved = _fixed(checkpoint["hyper_parameters"])
    for key, value in _fixed(hyper_parameters).items():
        if saved.get(key) != value:
            raise UserError(
                f"resume: the checkpoint has {key}={saved.get(key)}, this run asks for {value}; "
                "a resumed run keeps its network, its text and the order of its batches"
            )


def _fixed(hyper_parameters: dict[str, Any]) -> dict[str, Any]:
    """Each key that has to stay the same in a resumed run, with its value."""
    # What an older checkpoint does not name, it computed as the default says.
    defaults = {
        f"model.{field.name}": field.default
        for field in dataclasses.fields(GPTConfig)
        if field.default is not dataclasses.MISSING
    }
    fixed = {
        f"{section}.{key}": value
        for section in ("model", "tokenizer", "data")
        for key, value in hyper_parameters[section].items()
    }
    # In older checkpoints data.batch_size was that of each process.
    size, processes = fixed.get("data.batch_size"), fixed.pop("data.processes", 1)
    if isinstance(size, int) and isinstance(processes, int):
        fixed["data.batch_size"] = size * processes
    # Whether the id that ends a text stands in it follows from the text's fingerprint.
    fixed.pop("data.end_of_text", None)
    return {**defaults, **fixed, "seed": hyper_parameters.get("seed")}
