"""A checkpoint as an exporter needs it: shape, weights as they are stored, tokenizer."""

from dataclasses import dataclass
from pathlib import Path

import torch

from minigpt.errors import UserError
from minigpt.interop.gpt2_weights import Weights
from minigpt.model.gpt import GPT, GPTConfig
from minigpt.runs.checkpoints import find_checkpoint, read_checkpoint
from minigpt.runs.run_folder import RunFolder
from minigpt.tokens.tokenizer import Tokenizer, from_spec


@dataclass(frozen=True)
class Trained:
    """What a checkpoint holds of a network."""

    shape: GPTConfig
    weights: Weights  # by our names, in the checkpoint's precision
    tokenizer: Tokenizer
    checkpoint: Path
    step: int  # optimizer steps behind the weights
    text: str  # fingerprint of the token store that it was trained on; "" for none of ours

    @property
    def run(self) -> RunFolder:
        """The run that the checkpoint lies in; a checkpoint that was moved has none."""
        return RunFolder(self.checkpoint.absolute().parent.parent)

    @property
    def separator(self) -> int | None:
        """The id that stands between documents; None if the network never saw one."""
        end = self.tokenizer.end_of_text
        return end if end is not None and end < self.shape.vocab_size else None

    def network(self) -> GPT:
        """The network in float32 and eval mode."""
        net = GPT(self.shape)
        net.load_state_dict(self.weights)
        return net.eval()


def read_trained(path: Path, which: str = "best") -> Trained:
    """A checkpoint, or a run folder's best or last one.

    Raises UserError where it is not a checkpoint, or its weights are not of the shape it names.
    """
    path = find_checkpoint(path, which)
    checkpoint = read_checkpoint(path)
    hyper_parameters = checkpoint["hyper_parameters"]
    shape = GPTConfig(**hyper_parameters["model"])
    weights = {name.removeprefix("net."): value for name, value in checkpoint["state_dict"].items()}
    with torch.device("meta"):  # allocates no memory
        net = GPT(shape)
    try:
        net.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        detail = str(error).splitlines()[1].strip()
        raise UserError(f"{path}: its weights do not fit the model it names: {detail}") from None
    return Trained(
        shape,
        weights,
        from_spec(hyper_parameters["tokenizer"]),
        path,
        checkpoint.get("global_step", 0),
        hyper_parameters["data"]["text"],
    )
