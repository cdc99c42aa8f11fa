"""Every use of what Lightning does not promise, in one place.

Each function or class says what it reads, sets or overrides; tests/training/test_lightning_seams.py
breaks when a new version of Lightning changes it.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import ModelParallelStrategy, ParallelStrategy
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from torch.distributed.device_mesh import DeviceMesh
from torch.optim import Optimizer


class LeanModule(pl.LightningModule):
    """A module on which Lightning's notes cost little.

    48 times a step Lightning notes which hook runs, each time through nn.Module's search for
    parameters: a sixth of what its loop adds to a small step.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_current_fx_name":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)


class NoProfiler(PassThroughProfiler):
    """Lightning's profiler that measures nothing, without a new generator for each of 50 hooks."""

    _nothing = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager[None]:
        return self._nothing


def data_parallel_axis(mesh: DeviceMesh) -> DeviceMesh:
    """All processes of a run, of the mesh that ModelParallelStrategy makes."""
    return mesh["data_parallel"]


class OneAxisStrategy(ModelParallelStrategy):
    """Lightning's strategy for divided parameters, along one axis: all processes.

    A checkpoint is restored when and as it is without the strategy: an optimizer's state counts its
    parameters, where torch.distributed.checkpoint.state_dict would name them.
    """

    @property
    def restore_checkpoint_after_setup(self) -> bool:
        return False

    @property
    def lightning_restore_optimizer(self) -> bool:
        return True

    def setup_environment(self) -> None:
        self._data_parallel_size = self.num_nodes * self.num_processes
        self._tensor_parallel_size = 1
        super().setup_environment()

    def lightning_module_state_dict(self) -> dict[str, Any]:
        return ParallelStrategy.lightning_module_state_dict(self)

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        ParallelStrategy.load_model_state_dict(self, checkpoint, strict)

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        return ParallelStrategy.optimizer_state(self, optimizer)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        ParallelStrategy.load_optimizer_state_dict(self, checkpoint)


def position(trainer: pl.Trainer) -> tuple[int, int]:
    """(epoch, batches of it that are done), from the loops' own progress.

    Right from the moment that the first batch is drawn, which is after a checkpoint was restored.
    """
    loop = trainer.fit_loop
    return loop.epoch_progress.current.processed, loop.epoch_loop.batch_progress.current.ready


def epochs_completed(checkpoint: dict[str, Any]) -> int:
    """Whole epochs that were done when a checkpoint was saved."""
    progress = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]
    return int(progress["processed"])


def batches_done_in(checkpoint: dict[str, Any]) -> int:
    """Batches of the epoch that were done when a checkpoint was saved."""
    progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]
    return int(progress["processed"])


def fit_progress(trainer: pl.Trainer) -> dict[str, Any]:
    """What a trainer's checkpoint would hold of its training loop."""
    return dict(trainer.fit_loop.state_dict())


def explain_restoring(trainer: pl.Trainer, explain: Callable[[Exception], Exception]) -> None:
    """Have what goes wrong while a checkpoint is restored explained by another exception.

    Lightning restores with two methods of its own, around its making of the optimizer.
    """
    connector = trainer._checkpoint_connector

    def explained(restore: Callable[..., None]) -> Callable[..., None]:
        def call(*args: Any, **kwargs: Any) -> None:
            try:
                restore(*args, **kwargs)
            except Exception as error:
                raise explain(error) from None

        return call

    connector._restore_modules_and_callbacks = explained(connector._restore_modules_and_callbacks)
    connector.restore_training_state = explained(connector.restore_training_state)


def count_training_batches(trainer: pl.Trainer) -> int:
    """Batches of an epoch, after trainer.limit_train_batches; it builds the training loader."""
    trainer.fit_loop.setup_data()
    return int(trainer.num_training_batches)


def end_after_steps(trainer: pl.Trainer, steps: int) -> None:
    """Make a built trainer count steps instead of epochs, also for its validations.

    It validates where `validate_after_batch` says.
    """
    trainer.fit_loop.max_epochs = -1
    trainer.fit_loop.epoch_loop.max_steps = steps
    trainer.check_val_every_n_epoch = None
    trainer.val_check_interval = steps


def batches_done(trainer: pl.Trainer) -> int:
    """Training batches of this epoch that are done; right in any hook of training or validation."""
    return int(trainer.fit_loop.epoch_loop.batch_progress.current.processed)


def at_step_boundary(trainer: pl.Trainer) -> bool:
    """False among accumulated batches, whose optimizer step is still to come."""
    done = batches_done(trainer)
    return done % trainer.accumulate_grad_batches == 0 or done >= trainer.num_training_batches


def epoch_is_cut_short(trainer: pl.Trainer) -> bool:
    """True if the epoch ends with batches left: by max_steps, max_time, a budget, an early stop."""
    return batches_done(trainer) < trainer.num_training_batches


def settle_position(trainer: pl.Trainer, checkpoint: dict[str, Any]) -> None:
    """Set a checkpoint's counts to a place between two batches, whichever hook saves it.

    Lightning saves its counters as they are in the middle of a hook. Loaded again, an epoch that
    was cut short would count as whole, and each resume would add a batch to their total.
    """
    loops = checkpoint["loops"]["fit_loop"]
    epochs, batches = loops["epoch_progress"], loops["epoch_loop.batch_progress"]
    # An epoch counts as processed before the hooks of its end are called.
    ends_now = epochs["current"]["processed"] == epochs["current"]["started"] > 0
    epoch = epochs["current"]["processed"] - ends_now
    done = batches["current"]["processed"]
    if done >= trainer.num_training_batches:
        epoch, done = epoch + 1, 0
    begun = epoch + (done > 0)  # Lightning does not begin this epoch again
    for counts in epochs["total"], epochs["current"]:
        counts.update(ready=begun, started=begun, processed=epoch, completed=epoch)
    for counts, count in (
        (batches["total"], batches["total"]["processed"]),
        (batches["current"], done),
    ):
        counts.update(ready=count, started=count, processed=count, completed=count)
    batches["is_last_batch"] = False
    checkpoint["epoch"] = epoch


def validate_after_batch(trainer: pl.Trainer, due: bool) -> None:
    """Set whether a validation follows the current batch, whatever val_check_interval is."""
    never = 2**62
    trainer.val_check_batch = 1 if due else never


def hide_later_events(logger: TensorBoardLogger, step: int) -> None:
    """Make TensorBoard ignore what its event files hold after a step.

    As SummaryWriter's purge_step does, which Lightning would repeat at every file it opens.
    """
    start = SessionLog(status=SessionLog.START)
    writer = logger.experiment.file_writer
    writer.add_event(Event(step=step + 1, file_version="brain.Event:2"))
    writer.add_event(Event(step=step + 1, session_log=start))


def wrap_event_writers(summaries: Any, open_file: Callable[[Callable[[], Any]], Any]) -> None:
    """Let `open_file` call what opens an event file of torch's SummaryWriter.

    That opens a new one where it is written to after it was closed.
    """
    opened = summaries._get_file_writer
    summaries._get_file_writer = lambda: open_file(opened)
    summaries._get_file_writer()


def leave_signals_alone(trainer: pl.Trainer) -> None:
    """Keep Lightning from handling signals; minigpt/signals.py does.

    Lightning's handler broadcasts a signal in the middle of a step. Where only one process got the
    signal, the others do not take part, and all of them hang.
    """
    trainer._signal_connector.register_signal_handlers = lambda: None
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None


class NamedProgressBar(RichProgressBar):
    """Lightning's progress bar with a name for each epoch; it overrides a private method."""

    def epoch_name(self, epoch: int) -> str:
        """What stands before the bar; epochs count from 0."""
        raise NotImplementedError

    def _get_train_description(self, current_epoch: int) -> str:
        return self.epoch_name(current_epoch)
