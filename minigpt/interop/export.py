"""A checkpoint -> a folder in another project's format, whole and checked."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from minigpt.interop import gguf_format, hugging_face, onnx_format
from minigpt.interop.model_card import CARD, model_card
from minigpt.interop.new_folder import check_replaceable, replace_folder
from minigpt.interop.standard_form import in_standard_form
from minigpt.runs.stored_model import StoredModel, read_model

FORMATS: dict[str, Callable[[StoredModel, Path], dict[str, Any]]] = {
    "hf": hugging_face.write_hugging_face,
    "onnx": onnx_format.write_onnx,
    "gguf": gguf_format.write_gguf,
}
NAMES = {CARD, *hugging_face.NAMES, *onnx_format.NAMES, *gguf_format.NAMES}


@dataclass(frozen=True)
class Exported:
    """What an export wrote."""

    folder: str
    format: str
    checkpoint: str
    vocab_size: int
    files: dict[str, int]  # bytes of each
    figures: dict[str, Any]  # of the format: tensors, the largest difference of a logit


def export(
    path: Path, folder: Path, which: str = "best", format: str = "hf", force: bool = False
) -> Exported:
    """Write a checkpoint, or a run's best or last one, to a new folder.

    force: replace an older export. Raises UserError where the folder exists, where the format
    cannot hold the model, or where a package is missing; then nothing has changed.
    """
    check_replaceable(folder, NAMES, force)
    model = read_model(path, which)
    shape, weights = in_standard_form(model.shape, model.weights)
    model = replace(model, shape=shape, weights=weights)
    with replace_folder(folder) as new:
        figures = FORMATS[format](model, new)
        (new / CARD).write_text(model_card(model, format), "utf-8")
        files = {file.name: file.stat().st_size for file in sorted(new.iterdir())}
    return Exported(
        str(folder), format, str(model.checkpoint), model.shape.vocab_size, files, figures
    )
