"""A network in memory as what a checkpoint of it would give."""

from pathlib import Path

from minigpt.evaluation.trained_model import TrainedModel
from minigpt.model.gpt import GPT
from minigpt.runs.stored_model import find_separator
from minigpt.tokens.tokenizer import Tokenizer


def trained(
    net: GPT, tokenizer: Tokenizer, checkpoint: Path = Path("model.ckpt"), text: str = ""
) -> TrainedModel:
    separator = find_separator(tokenizer, net.config.vocab_size, end_of_text=True)
    return TrainedModel(net.eval(), tokenizer, separator, checkpoint, text)
