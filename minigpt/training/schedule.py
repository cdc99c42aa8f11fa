"""Learning-rate schedules: pure functions of the step."""

import math
from dataclasses import dataclass

from minigpt.errors import UserError, check_choice, check_types

SCHEDULES = ("none", "cosine_epoch", "warmup_cosine", "warmup_constant_decay")


@dataclass(frozen=True)
class SchedulerConfig:
    """How the learning rate changes; the keys of the `scheduler` config group."""

    name: str
    warmup_steps: int
    decay_fraction: float  # of warmup_constant_decay: the share of all steps in which it falls
    min_ratio: float  # the lowest learning rate, as a share of optimizer.lr

    def __post_init__(self) -> None:
        check_types("scheduler", self)
        check_choice("scheduler.name", self.name, SCHEDULES)
        if self.warmup_steps < 0:
            raise UserError(f"scheduler.warmup_steps must be at least 0, got {self.warmup_steps}")
        for name in ("decay_fraction", "min_ratio"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"scheduler.{name} must lie in [0, 1], got {getattr(self, name)}")


def lr_factor(config: SchedulerConfig, step: int, total_steps: int, epoch_steps: int) -> float:
    """The learning rate of a step (from 0) as a share of optimizer.lr.

    cosine_epoch keeps one rate through each epoch of epoch_steps, and the first epoch trains at
    the full rate. The other schedules change the rate at every step and end on min_ratio.
    """
    warmup = min(config.warmup_steps, total_steps)
    if config.name == "none":
        return 1.0
    if config.name == "cosine_epoch":
        return cosine(step // epoch_steps, total_steps / epoch_steps, config.min_ratio)
    if step < warmup:
        return (step + 1) / warmup
    last = total_steps - 1  # the last step has exactly min_ratio, whatever the length
    if config.name == "warmup_cosine":
        return cosine(step - warmup, last - warmup, config.min_ratio)
    after_warmup = last - (warmup - 1)
    decay_steps = max(1, min(round(config.decay_fraction * total_steps), after_warmup))
    progress = max(0, step - (last - decay_steps)) / decay_steps
    return 1 - (1 - config.min_ratio) * min(1.0, progress)


def cosine(at: float, end: float, floor: float) -> float:
    """1 at 0, falling along half a cosine to floor at end (Loshchilov and Hutter, 2017)."""
    progress = min(1.0, at / end) if end > 0 else 1.0
    return floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2
