"""Every use of what Lightning does not promise, in one place.

Each function names what it reads or sets; tests/training/test_lightning_seams.py breaks when a
new version of Lightning changes it.
"""

from typing import Any

import lightning.pytorch as pl


def position(trainer: pl.Trainer) -> tuple[int, int]:
    """(epoch, batches of it that are done), from the loops' own progress.

    Right from the moment that the first batch is drawn, which is after a checkpoint was restored.
    """
    loop = trainer.fit_loop
    return loop.epoch_progress.current.processed, loop.epoch_loop.batch_progress.current.ready


def epochs_completed(checkpoint: dict[str, Any]) -> int:
    """Whole epochs that a checkpoint has behind it."""
    progress = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]
    return int(progress["processed"])


def count_training_batches(trainer: pl.Trainer) -> int:
    """Batches of an epoch, after trainer.limit_train_batches; it builds the training loader."""
    trainer.fit_loop.setup_data()
    return int(trainer.num_training_batches)


def end_after_steps(trainer: pl.Trainer, steps: int, steps_between_validations: int) -> None:
    """Make a built trainer count steps instead of epochs, validating across epochs."""
    trainer.fit_loop.max_epochs = -1
    trainer.fit_loop.epoch_loop.max_steps = steps
    trainer.check_val_every_n_epoch = None
    trainer.val_check_interval = steps_between_validations


def learning_rate_factor(trainer: pl.Trainer, step: int) -> float:
    """The schedule's factor of a step, as the trainer's LambdaLR computes it."""
    scheduler = trainer.lr_scheduler_configs[0].scheduler
    return float(scheduler.lr_lambdas[0](step))


def leave_signals_alone(trainer: pl.Trainer) -> None:
    """Keep Lightning from handling signals, which our own handlers do.

    Its handler and its every batch broadcast a signal that may have come to one process only; the
    others, which take part in no broadcast then, would hang.
    """
    trainer._signal_connector.register_signal_handlers = lambda: None
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None
