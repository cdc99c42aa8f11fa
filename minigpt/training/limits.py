"""Limits of a trainer that depend on the corpus, checked before training starts."""

import os

import lightning.pytorch as pl
from lightning.pytorch.callbacks import EarlyStopping

from minigpt.batches.blocks import count_batches
from minigpt.errors import UserError
from minigpt.training.data_module import TokenDataModule

PROCESSES_A_CORE = 8  # at most; one is the most that makes sense
SPLITS = ("train", "val", "test")


def check_limits(trainer: pl.Trainer, data: TokenDataModule) -> None:
    """Raises UserError for limits that leave no batch, or a validation that never comes.

    Also for a batch that the processes do not divide.
    """
    _check_processes(trainer, data)
    batches = {split: unlimited_batches(data, split) for split in SPLITS}
    for split in SPLITS:
        limit = getattr(trainer, f"limit_{split}_batches")
        if batches[split] and limit and not _limited(batches[split], limit):
            raise UserError(
                f"trainer.limit_{split}_batches={limit} of the {batches[split]} {split} batches is "
                "less than one; give a larger share, or a whole number of batches"
            )
    if data.config.warmup is not None and trainer.accumulate_grad_batches > 1:
        raise UserError(
            "data.batch_warmup and trainer.accumulate_grad_batches above 1 do not go together: the "
            "batches of a step would differ in size; raise data.batch_size instead"
        )
    per_epoch = training_batches(trainer, data)
    _check_interval(trainer, per_epoch)
    never = _why_no_validation(trainer, per_epoch)
    for callback in trainer.callbacks:
        watches = isinstance(callback, EarlyStopping) and str(callback.monitor).startswith("val/")
        if watches and never:
            raise UserError(
                f"callbacks.early_stopping watches {callback.monitor}, but {never}; change that, "
                "or train without callbacks=early_stopping"
            )


def _check_processes(trainer: pl.Trainer, data: TokenDataModule) -> None:
    processes = trainer.world_size
    batch_size, blocks = data.config.batch_size, len(data.blocks["train"])
    most = PROCESSES_A_CORE * (os.cpu_count() or 1)
    on_cpu = trainer.strategy.root_device.type == "cpu"
    if on_cpu and processes // trainer.num_nodes > most:
        raise UserError(
            f"trainer.devices={processes // trainer.num_nodes} processes are more than this "
            f"machine's {os.cpu_count()} cores can train with; {os.cpu_count()} is the most that "
            "makes sense"
        )
    if blocks < processes:
        raise UserError(
            f"{processes} processes share {blocks} training blocks; set trainer.devices={blocks} "
            "or fewer, or give more text"
        )
    if batch_size % processes:
        nearest = max(1, round(batch_size / processes)) * processes
        raise UserError(
            f"data.batch_size={batch_size} is that of all {processes} processes together, which do "
            f"not divide it; data.batch_size={nearest} is the nearest that they do"
        )


def training_batches(trainer: pl.Trainer, data: TokenDataModule) -> int:
    """Batches of a training epoch, after trainer.limit_train_batches."""
    return _limited(unlimited_batches(data, "train"), trainer.limit_train_batches)


def held_out_batches(trainer: pl.Trainer, data: TokenDataModule, split: str) -> int:
    """Batches of a validation (val) or a test (test), after their limits."""
    limit = trainer.limit_val_batches if split == "val" else trainer.limit_test_batches
    return _limited(unlimited_batches(data, split), limit)


def unlimited_batches(data: TokenDataModule, split: str) -> int:
    """Batches of a split before any limit; the last one may be smaller."""
    size = data.config.batch_size if split == "train" else data.config.eval_batch_size
    return count_batches(len(data.blocks[split]), size)


def _limited(batches: int, limit: int | float) -> int:
    """Batches that a limit leaves: a number of them (int) or a share (float)."""
    return min(batches, limit) if isinstance(limit, int) else int(batches * limit)


def _check_interval(trainer: pl.Trainer, per_epoch: int) -> None:
    interval, limit = trainer.val_check_interval, trainer.limit_train_batches
    within_epoch = trainer.check_val_every_n_epoch is not None
    if isinstance(interval, int) and within_epoch and interval > per_epoch:
        epoch = (
            f"trainer.limit_train_batches={limit}"
            if limit == per_epoch and isinstance(limit, int)
            else f"the {per_epoch} batches of an epoch"
        )
        raise UserError(
            f"trainer.val_check_interval={interval} is beyond {epoch}; lower it, or count batches "
            "across epochs with +trainer.check_val_every_n_epoch=null"
        )
    every, epochs = trainer.check_val_every_n_epoch, trainer.max_epochs
    if every is not None and epochs is not None and 0 < epochs < every:
        raise UserError(
            f"trainer.check_val_every_n_epoch={every} is beyond trainer.max_epochs={epochs}; lower "
            "it, or turn validation off with trainer.limit_val_batches=0"
        )


def _why_no_validation(trainer: pl.Trainer, per_epoch: int) -> str | None:
    """Why a run never validates; None for a run that does."""
    if not trainer.limit_val_batches:
        return "trainer.limit_val_batches=0 turns validation off"
    interval, every = trainer.val_check_interval, trainer.check_val_every_n_epoch
    within = interval if isinstance(interval, int) else max(1, int(per_epoch * interval))
    first = within if every is None else (every - 1) * per_epoch + within
    limits = [trainer.max_steps * trainer.accumulate_grad_batches]
    limits += [(trainer.max_epochs or 0) * per_epoch]
    last = min((limit for limit in limits if limit > 0), default=first)
    if first > last:
        return f"the run ends after {last} batches and would first validate after {first}"
    return None
