"""An exponential moving average of the weights, which validation, test and checkpoints use."""

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from minigpt.errors import UserError
from minigpt.runs.checkpoints import RAW_WEIGHTS
from minigpt.training.lightning_seams import at_step_boundary


class WeightAverage(pl.Callback):
    """Averages the weights after every optimizer step (Polyak and Juditsky, 1992).

    Training goes on with the raw weights. A checkpoint's `state_dict` is the average, and the raw
    weights lie beside it for a resume. After training the network has the average.
    decay: the share of the old average in the new one. It starts lower and rises to this value, so
    that the first weights are soon forgotten.

    Not Lightning's WeightAveraging: that has no such start, and its samples of text, which are
    written after a validation, would come from the raw weights.
    """

    def __init__(self, decay: float) -> None:
        if not isinstance(decay, int | float) or not 0 < decay < 1:
            raise UserError(
                f"callbacks.weight_average.decay must lie between 0 and 1, got {decay!r}"
            )
        self.decay = decay
        # Of each parameter; the raw weights in a validation, and nothing outside of training.
        self._average: list[Tensor] = []

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if RAW_WEIGHTS in checkpoint:  # else the run had no average; it starts with these weights
            self._average = [p.detach().clone() for p in pl_module.parameters()]
            pl_module.load_state_dict(checkpoint[RAW_WEIGHTS])

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        parameters = list(pl_module.parameters())
        if any(p.dtype != torch.float32 for p in parameters):
            raise UserError(
                "callbacks.weight_average needs weights in float32, in which small steps are not "
                f"lost; trainer.precision={trainer.precision} has none"
            )
        if self._average:
            # A checkpoint is loaded before the network is moved to its device.
            self._average = [mean.to(pl_module.device) for mean in self._average]
        else:
            self._average = [p.detach().clone() for p in parameters]

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        if at_step_boundary(trainer):
            new = 1 - average_decay(self.decay, trainer.global_step)
            weights = [p.detach() for p in pl_module.parameters()]
            torch._foreach_lerp_(self._average, weights, new)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._exchange(pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Lightning calls those that save checkpoints later, all others of the config earlier.
        self._exchange(pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._exchange(pl_module)
        self._average = []

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if self._average:
            raw = checkpoint[RAW_WEIGHTS] = checkpoint["state_dict"]
            average = dict(zip(pl_module.parameters(), self._average, strict=True))
            named = pl_module.named_parameters(remove_duplicate=False)
            checkpoint["state_dict"] = {**raw, **{name: average[p] for name, p in named}}

    @torch.inference_mode(False)  # Lightning validates in it, but these tensors are trained on
    def _exchange(self, pl_module: pl.LightningModule) -> None:
        """Swap the values of weights and average; where they lie in memory stays the same."""
        for parameter, other in zip(pl_module.parameters(), self._average, strict=False):
            raw = parameter.detach().clone()
            parameter.detach().copy_(other)
            other.copy_(raw)


def average_decay(decay: float, step: int) -> float:
    """The share of the old average after a number of optimizer steps, at least 1."""
    return min(decay, (1 + step) / (10 + step))
