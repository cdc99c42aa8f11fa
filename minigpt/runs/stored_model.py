"""A checkpoint -> the network in it: shape, weights, tokenizer, and the text it was trained on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minigpt.config import build
from minigpt.errors import UserError
from minigpt.model.gpt import GPT, GPTConfig
from minigpt.runs.checkpoints import find_checkpoint, read_checkpoint
from minigpt.tokens.tokenizer import Tokenizer, from_spec

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class StoredModel:
    """What a checkpoint holds of a network."""

    shape: GPTConfig
    weights: Weights  # by the network's names, in the checkpoint's precision
    tokenizer: Tokenizer
    separator: int | None  # the id that stands between documents; None if it never saw one
    checkpoint: Path
    step: int  # optimizer steps behind the weights
    text: str  # fingerprint of the token store that it was trained on; "" for none of ours

    def network(self) -> GPT:
        """The network in float32 and eval mode."""
        net = empty_network(self.shape)
        weights = {name: value.float() for name, value in self.weights.items()}
        net.load_state_dict(weights, assign=True)
        if self.shape.tie_weights:
            net.head.weight = net.wte.weight
        return net.eval()


def read_model(path: Path, which: str = "best") -> StoredModel:
    """The network of a checkpoint, or of a run folder's best or last one.

    Raises UserError where it is not a checkpoint of this project, or its weights are not of the
    shape that it names, or not finite.
    """
    path = find_checkpoint(path, which)
    checkpoint = read_checkpoint(path)
    hyper_parameters = checkpoint["hyper_parameters"]
    try:
        shape = build(GPTConfig, "model", hyper_parameters["model"])
    except UserError as error:
        raise UserError(f"{path} names a model that this minigpt cannot build: {error}") from None
    weights = {
        str(name).removeprefix("net."): value
        for name, value in checkpoint["state_dict"].items()
        if isinstance(value, Tensor) and value.is_floating_point()
    }
    try:
        empty_network(shape).load_state_dict(weights, assign=True)
    except RuntimeError as error:
        lines = str(error).splitlines()
        detail = (lines[1:] or lines)[0].strip()  # the first says that there are errors
        raise UserError(f"{path}: its weights do not fit the model it names: {detail}") from None
    for name, value in weights.items():
        if not value.isfinite().all():
            raise UserError(f"{path}: its weight {name} has numbers that are not finite")
    tokenizer = _tokenizer(path, hyper_parameters["tokenizer"])
    data = hyper_parameters["data"]
    step = checkpoint.get("global_step", 0)
    # Older checkpoints do not say; the configurations of then separate documents.
    end_of_text = data.get("end_of_text", True)
    if not isinstance(step, int) or not isinstance(end_of_text, bool):
        raise UserError(f"{path} is damaged: its global_step or data end_of_text has a wrong type")
    return StoredModel(
        shape=shape,
        weights=weights,
        tokenizer=tokenizer,
        separator=find_separator(tokenizer, shape.vocab_size, end_of_text),
        checkpoint=path,
        step=step,
        text=data["text"],
    )


def empty_network(shape: GPTConfig) -> GPT:
    """A network whose weights take no memory and draw no random numbers."""
    with torch.device("meta"):
        return GPT(shape)


def find_separator(tokenizer: Tokenizer, vocab_size: int, end_of_text: bool) -> int | None:
    """The id between the documents that a network was trained on; None if it never saw one."""
    end = tokenizer.end_of_text
    return end if end_of_text and end is not None and end < vocab_size else None


def _tokenizer(path: Path, spec: dict[str, Any]) -> Tokenizer:
    try:
        return from_spec(spec)
    except UserError as error:
        raise UserError(f"{path} names no tokenizer that can be read: {error}") from None
