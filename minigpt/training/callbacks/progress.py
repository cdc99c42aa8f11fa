"""The live progress bar: loss, perplexity, tokens per second, and the time left in the run."""

import time
from datetime import timedelta
from typing import Any

import lightning.pytorch as pl
from rich.progress import BarColumn, ProgressColumn, TextColumn

from minigpt.model.loss import perplexity
from minigpt.training.callbacks.metrics import Metrics
from minigpt.training.lightning_seams import NamedProgressBar
from minigpt.training.time_estimate import describe

SECONDS_BETWEEN = 0.1  # between two updates of the bar
TIMED_BATCHES, TIMED_SECONDS = 20, 3.0  # whichever ends the timing of the first batches


class ProgressBar(NamedProgressBar):
    """Rich's progress bar for the current epoch, below one line for each finished epoch."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._started = time.perf_counter(), trainer.global_step
        self._drawn = 0.0
        self._batch_ended: float | None = None  # None before a batch that is not timed
        self._timed: list[float] = []  # seconds of the first batches
        self._estimated = False

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_epoch_start(trainer, pl_module)
        self._batch_ended = None

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_validation_end(trainer, pl_module)
        self._batch_ended = None

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        # Drawing is slow, and nobody can read faster updates.
        now, last = time.perf_counter(), batch_idx + 1 == trainer.num_training_batches
        if not self._estimated:
            self._estimate(trainer, now)
        if last or now - self._drawn >= SECONDS_BETWEEN:
            self._drawn = now
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def _estimate(self, trainer: pl.Trainer, now: float) -> None:
        """Print once how long the run will take, from the time of its first batches.

        A batch is timed from the end of the previous one. The first of a run allocates and may
        compile, so it is not timed, nor is the first of an epoch or after a validation.
        """
        previous, self._batch_ended = self._batch_ended, now
        if previous is None:
            return
        self._timed.append(now - previous)
        if len(self._timed) < TIMED_BATCHES and sum(self._timed) < TIMED_SECONDS:
            return
        self._estimated = True
        if self.progress is not None:
            line = describe(trainer, sum(self._timed) / len(self._timed))
            self.progress.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def configure_columns(self, trainer: pl.Trainer) -> list[ProgressColumn]:
        # Without Lightning's columns for time and batches per second: the metrics say more.
        return [
            TextColumn("[progress.description]{task.description}"),
            BarColumn(
                bar_width=16,
                complete_style=self.theme.progress_bar,
                finished_style=self.theme.progress_bar_finished,
                pulse_style=self.theme.progress_bar_pulse,
            ),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        ]

    def epoch_name(self, epoch: int) -> str:
        return f"epoch {epoch + 1}{self._of_all()}"

    def _of_all(self) -> str:
        """`/10` for a run of ten epochs; empty if a budget or a number of steps ends the run."""
        epochs = self.trainer.max_epochs
        return f"/{epochs}" if epochs and epochs > 0 else ""

    def get_metrics(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        latest = Metrics.of(trainer).latest
        if not latest or not trainer.training:
            return {}
        shown: dict[str, int | str | float | dict[str, float]] = {
            "loss": f"{latest['train/loss']:.3f}",
            "ppl": f"{latest['train/perplexity']:.4g}",
            "tok/s": f"{latest['tokens_per_second']:,.0f}",
        }
        seconds, first_step = time.perf_counter() - self._started[0], self._started[1]
        total = trainer.estimated_stepping_batches
        if trainer.global_step > first_step and total != float("inf"):
            left = seconds / (trainer.global_step - first_step) * (total - trainer.global_step)
            shown["left"] = str(timedelta(seconds=round(left)))
        return shown

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        metrics = Metrics.of(trainer)
        loss = metrics.epoch_loss(trainer)
        line = (
            f"epoch {trainer.current_epoch + 1:>2}{self._of_all()}  "
            f"train loss {loss:.3f}, perplexity {perplexity(loss):,.2f}"
        )
        if metrics.epoch_val_loss is not None:
            line += f"   held-out loss {metrics.epoch_val_loss:.3f}"
        if self.progress is not None:
            self.progress.console.print(line, highlight=False)
