"""`model.from`: a training run that starts with the shape and the weights of a GPT-2 folder."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from omegaconf import DictConfig, OmegaConf

from minigpt.errors import UserError
from minigpt.interop.gpt2_folder import read_shape, read_weights
from minigpt.interop.tokenizer_match import check_tokenizer
from minigpt.model.gpt import GPT
from minigpt.text.paths import user_path
from minigpt.tokens.tokenizer import from_spec

KEY = "model.from"
DROPOUTS = {"dropout", "embd_dropout"}  # a choice of the training, not of the network


def take_shape(config: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """The configuration, its `model` group set to the shape of the folder that model.from names.

    overrides: what the user typed. A typed dropout stays. Raises UserError where another typed
    key contradicts the folder, or the folder does not hold a GPT-2 that our network can be.
    """
    start = config.model.get("from")
    if start is None:
        return config
    try:
        shape = asdict(read_shape(user_path(str(start))))
    except UserError as error:
        raise UserError(f"{KEY}: {error}") from None
    typed = {word.lstrip("+").partition("=")[0].removeprefix("model.") for word in overrides}
    for name, value in shape.items():
        if name in typed and name not in DROPOUTS and config.model[name] not in (None, value):
            raise UserError(
                f"model.{name}={config.model[name]}: {KEY}={start} has {value}; leave it out"
            )
    kept = DROPOUTS if typed & DROPOUTS else set()
    for name, value in shape.items():
        if name not in kept:
            OmegaConf.update(config, f"model.{name}", value, force_add=True)
    return config


def check_start_tokenizer(start: str, tokenizer: dict[str, Any], vocab_size: int) -> None:
    """Raises UserError where the folder's tokenizer is not that of the text.

    tokenizer: its spec, as a token store has it.
    """
    check_tokenizer(user_path(start), from_spec(tokenizer), vocab_size)


def load_start(net: GPT, start: str) -> None:
    """Give a network the weights of the folder that model.from names."""
    net.load_state_dict(read_weights(user_path(start), net.config))
