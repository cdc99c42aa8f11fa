"""TensorBoard's HPARAMS tab: what shapes a run, beside its best validation loss."""

import math
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.loggers import TensorBoardLogger

from minigpt.training.lit_gpt import LitGPT

METRIC = "hp/val_loss"

# What a run may be compared by; the rest of the configuration is plumbing.
SECTIONS = ("model", "data", "optimizer", "scheduler", "trainer", "loss", "seed")


class TensorBoardHparams(pl.Callback):
    """Writes the table's row once, then keeps its metric at the best validation loss so far."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.flat = flatten({section: config[section] for section in SECTIONS})
        self.best = math.inf

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.global_step:
            return  # resumed: the row is there
        assert isinstance(pl_module, LitGPT)
        # The row must name its metric; until the first validation that is the loss of knowing
        # nothing.
        start = math.log(pl_module.net.config.vocab_size)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(self.flat, {METRIC: start})

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.best = min(self.best, float(trainer.callback_metrics["val/loss"]))
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.log_metrics({METRIC: self.best}, trainer.global_step)

    def state_dict(self) -> dict[str, float]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        self.best = state_dict["best"]


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}; a list becomes text, and null the word null."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            plain = isinstance(value, bool | int | float | str)
            flat[f"{prefix}{key}"] = value if plain else "null" if value is None else str(value)
    return flat
