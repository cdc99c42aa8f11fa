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
        self._timed_from: tuple[float, int] | None = None  # the end of the first batch, its number
        self._estimated = False

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
            self._estimate(trainer, now, batch_idx)
        if last or now - self._drawn >= SECONDS_BETWEEN:
            self._drawn = now
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def _estimate(self, trainer: pl.Trainer, now: float, batch_idx: int) -> None:
        """Print once how long the run will take, timed from its second batch on."""
        if self._timed_from is None:
            self._timed_from = now, batch_idx  # the first batch allocates, and may compile
            return
        started, first = self._timed_from
        if batch_idx - first < TIMED_BATCHES and now - started < TIMED_SECONDS:
            return
        self._estimated = True
        if batch_idx > first and self.progress is not None:  # not an epoch of one batch
            line = describe(trainer, (now - started) / (batch_idx - first))
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
