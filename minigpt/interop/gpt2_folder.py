"""Reads a folder with a GPT-2 in it, as `transformers` saves one; nothing in it is executed."""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from minigpt.errors import UserError
from minigpt.interop.gpt2_config import from_gpt2_config
from minigpt.interop.gpt2_weights import from_gpt2_weights
from minigpt.json_text import parse_json
from minigpt.model.gpt import GPTConfig
from minigpt.ordinary_file import read_text
from minigpt.runs.stored_model import Weights

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"  # of weights in several files
PICKLE = "pytorch_model.bin"


def read_shape(folder: Path) -> GPTConfig:
    """The network that a folder's config.json describes.

    Raises UserError where there is none, or it is not a GPT-2 that our network can be.
    """
    if not folder.is_dir():
        raise UserError(
            f"no such folder: {folder}; nothing is downloaded, so name one on this disk"
        )
    path = folder / CONFIG
    if not path.is_file():
        raise UserError(
            f"{folder} has no {CONFIG}, so it does not hold a model that `transformers` saved"
        )
    return from_gpt2_config(read_json(path), path)


def read_weights(folder: Path, shape: GPTConfig) -> Weights:
    """The folder's weights under our names, in the precision of the file.

    Raises UserError where a file is missing, damaged or a pickle, or a tensor does not fit.
    """
    tensors: Weights = {}
    for path in _weight_files(folder):
        try:
            with safe_open(path, framework="pt") as file:
                tensors |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise UserError(f"{path} cannot be read ({error}); copy it again") from None
    return from_gpt2_weights(shape, tensors, str(folder))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises UserError where the file is not one."""
    try:
        content = parse_json(read_text(path))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({type(error).__name__}); it is damaged") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a JSON object; it is damaged")
    return content


def _weight_files(folder: Path) -> list[Path]:
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if not (folder / INDEX).is_file():
        pickle = (
            f"; its {PICKLE} is a pickle, which can run code when it is read: save the model again "
            "with save_pretrained of `transformers`, which writes safetensors"
            if (folder / PICKLE).exists()
            else ""
        )
        raise UserError(f"{folder} has no {WEIGHTS}{pickle}")
    shards = read_json(folder / INDEX).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise UserError(f"{folder / INDEX} names no files (weight_map); it is damaged")
    names = sorted({str(name) for name in shards.values()})
    for name in names:
        if Path(name).name != name or not (folder / name).is_file():
            raise UserError(f"{folder / INDEX} names {name}, which is not in the folder")
    return [folder / name for name in names]
