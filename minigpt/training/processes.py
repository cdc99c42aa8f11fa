"""The only place that knows of several processes: who is first, and what all of them agree on."""

import lightning.pytorch as pl
import torch
from torch import Tensor


def is_first(trainer: pl.Trainer) -> bool:
    """True in the one process that writes files and prints."""
    return trainer.is_global_zero


def sum_over_processes(trainer: pl.Trainer, values: Tensor) -> Tensor:
    """The elementwise sum of every process's values; each process has to call this.

    `values` itself does not change, so that asking twice gives the same sum.
    """
    if trainer.world_size == 1:
        return values
    return trainer.strategy.reduce(values.clone(), reduce_op="sum")


def agree_on_largest(trainer: pl.Trainer, value: int) -> int:
    """The largest value of all processes; each process has to call this."""
    if trainer.world_size == 1:
        return value
    values = torch.tensor(value, device=trainer.strategy.root_device)
    return int(trainer.strategy.reduce(values, reduce_op="max").item())
