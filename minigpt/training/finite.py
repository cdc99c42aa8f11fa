"""The error of a run that diverged, and the check that raises it."""

import math

import lightning.pytorch as pl

from minigpt.errors import UserError

ON_NAN = ("stop", "skip", "rewind")


class DivergedError(UserError):
    """A loss, a gradient or a weight is not a finite number."""


class StepNotTakenError(DivergedError):
    """The loss or the gradient of a step is not finite, so it was not taken."""


def scalar_read_syncs(pl_module: pl.LightningModule) -> bool:
    """True if reading a scalar forces a device sync, which at every step would cost too much."""
    return pl_module.device.type != "cpu"


def check_finite(
    trainer: pl.Trainer,
    value: float,
    name: str,
    consequence: str,
    error: type[DivergedError] = DivergedError,
) -> None:
    """Raises the error unless a value is finite; `consequence` says what was not done."""
    if not math.isfinite(value):
        raise error(
            f"{name} is {value} at step {trainer.global_step} (epoch {trainer.current_epoch + 1}), "
            f"so {consequence}; try a lower optimizer.lr, a warm-up (scheduler=warmup_cosine) or "
            "a smaller trainer.gradient_clip_val"
        )
