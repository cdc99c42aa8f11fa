"""How long a run will take on this machine, from the time of its own first batches."""

from dataclasses import dataclass

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Timer
from omegaconf import OmegaConf

from minigpt.batches.config import DataConfig
from minigpt.batches.warmup import BatchSizes
from minigpt.command_lines import quick_command
from minigpt.config import CONF
from minigpt.training.callbacks.budget_validations import BudgetValidations
from minigpt.training.data_module import TokenDataModule

LONG = 600.0  # seconds after which a run is offered in short
# A batch without backward pass and optimizer step takes a third of a training batch.
HELD_OUT_SHARE = 1 / 3


@dataclass(frozen=True)
class Work:
    """What a run still has to do, counted in training batches."""

    batches: float  # of training
    held_out: float  # of all validations, in training batches of as many tokens

    def seconds(self, per_batch: float) -> float:
        """Seconds that it takes where a training batch takes `per_batch`."""
        return per_batch * (self.batches + HELD_OUT_SHARE * self.held_out)


def work_left(trainer: pl.Trainer) -> Work:
    """What a run that has begun to train still has to do, without its test."""
    data = trainer.datamodule
    assert isinstance(data, TokenDataModule)
    done, total = trainer.global_step, int(trainer.estimated_stepping_batches)
    batches = full_batches(data.config, done, total) * trainer.accumulate_grad_batches
    size = data.config.eval_batch_size / data.config.batch_size
    held_out = size * sum(trainer.num_val_batches)
    return Work(batches, held_out * _validations(trainer, batches))


def full_batches(config: DataConfig, first: int, end: int) -> float:
    """Steps first to end, counted in batches of data.batch_size: fewer where batches grow."""
    if config.warmup is None:
        return end - first
    sizes = BatchSizes(config.warmup, config.batch_size)
    return (sizes.before(end) - sizes.before(first)) / config.batch_size


def _validations(trainer: pl.Trainer, batches: float) -> float:
    for callback in trainer.callbacks:
        if isinstance(callback, BudgetValidations):
            return sum(step > trainer.global_step for step in callback.due)
    return batches / trainer.val_check_batch / (trainer.check_val_every_n_epoch or 1)


def describe(trainer: pl.Trainer, per_batch: float) -> str:
    """What is printed: the time, and where it is long a command that takes less.

    per_batch: seconds that a batch has taken lately.
    """
    data = trainer.datamodule
    assert isinstance(data, TokenDataModule)
    per_batch /= full_batches(data.config, trainer.global_step - 1, trainer.global_step)
    work = work_left(trainer)
    seconds = work.seconds(per_batch)
    for callback in trainer.callbacks:
        if isinstance(callback, Timer) and (left := callback.time_remaining()) is not None:
            seconds = min(seconds, left)
    line = (
        f"this run will take about {readable(seconds)} on this machine (an estimate: "
        f"{work.batches:,.0f} more batches of {1000 * per_batch:,.0f} ms)"
    )
    command = quicker(per_batch) if seconds > LONG else None
    return f"{line}\na quicker one: {command}" if command else line


def readable(seconds: float) -> str:
    """40 s, 12 min or 3.5 h: no more digits than an estimate has."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    minutes = seconds / 60
    return f"{round(minutes)} min" if minutes < 100 else f"{minutes / 60:,.1f} h"


def quicker(per_batch: float) -> str | None:
    """The command with `trainer=quick`, and fewer batches where even that would be long."""
    quick = OmegaConf.load(CONF / "trainer" / "quick.yaml")
    fitting = max(1, int(LONG / 2 / per_batch / quick.max_epochs))
    if fitting < quick.limit_train_batches:
        return quick_command(f"trainer.limit_train_batches={fitting}")
    return quick_command()
