"""A GPT-2 folder -> a checkpoint that generate, evaluate and export take."""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from minigpt.errors import UserError
from minigpt.interop.gpt2_folder import read_shape, read_weights
from minigpt.interop.new_folder import replace_folder
from minigpt.interop.tokenizer_match import recognise_tokenizer
from minigpt.model.gpt import count_parameters
from minigpt.runs.run_folder import RunFolder
from minigpt.tokens.tokenizer import load_tokenizer

PLACE = Path("outputs/imported")  # of imports without a name of their own


@dataclass(frozen=True)
class Imported:
    """What an import wrote."""

    folder: str
    checkpoint: str
    parameters: int
    vocab_size: int
    block_size: int
    tokenizer: str


def import_folder(source: Path, out: Path | None = None) -> Imported:
    """Write a folder's weights to `out` as the best checkpoint of a run, bit for bit.

    out: the default is below outputs/imported/. A folder without a tokenizer is taken to have
    GPT-2's. Raises UserError where `out` exists, or the folder does not hold a GPT-2 that our
    network can be; then nothing is written.
    """
    out = PLACE / source.resolve().name if out is None else out
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"{out} exists already; name another folder")
    shape = read_shape(source)
    stored_tokenizer = recognise_tokenizer(source, shape.vocab_size)
    tokenizer = stored_tokenizer or load_tokenizer("gpt2")
    weights = read_weights(source, shape)
    checkpoint = {
        "state_dict": {f"net.{name}": value for name, value in weights.items()},
        "hyper_parameters": {
            "model": asdict(shape),
            "tokenizer": tokenizer.spec(),
            "data": {"text": ""},  # no token store of ours
        },
        "global_step": 0,
    }
    with replace_folder(out) as new:
        path = RunFolder(new).best
        path.parent.mkdir()
        torch.save(checkpoint, path)
    if stored_tokenizer is None:
        print(f"{source} has no tokenizer; taking GPT-2's", file=sys.stderr)
    return Imported(
        str(out),
        str(RunFolder(out).best),
        sum(count_parameters(shape).values()),
        shape.vocab_size,
        shape.block_size,
        tokenizer.name,
    )
