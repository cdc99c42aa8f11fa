"""The optimiser's parameter groups, and learning-rate schedules as pure functions."""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim import Optimizer

from minigpt.errors import UserError, check_choice, check_positive, check_types

DECAYS = ("all", "matrices")
SCHEDULES = ("none", "cosine_epoch", "warmup_cosine", "warmup_constant_decay")


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW (Loshchilov and Hutter, 2019); the keys of the `optimizer` config group."""

    lr: float
    betas: list[float]
    eps: float
    weight_decay: float
    fused: bool  # one kernel for all parameters
    decay: str  # all: every parameter; matrices: not the biases and norms

    def __post_init__(self) -> None:
        check_types("optimizer", self)
        check_positive("optimizer", self, "lr", "eps")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise UserError(f"optimizer.betas must be two numbers in [0, 1), got {self.betas}")
        if self.weight_decay < 0:
            raise UserError(f"optimizer.weight_decay must be at least 0, got {self.weight_decay}")
        check_choice("optimizer.decay", self.decay, DECAYS)


@dataclass(frozen=True)
class SchedulerConfig:
    """How the learning rate changes; the keys of the `scheduler` config group."""

    name: str
    warmup_steps: int
    decay_fraction: float  # warmup_constant_decay: the share of all steps that it falls over
    min_ratio: float  # the lowest learning rate, as a share of optimizer.lr

    def __post_init__(self) -> None:
        check_types("scheduler", self)
        check_choice("scheduler.name", self.name, SCHEDULES)
        if self.warmup_steps < 0:
            raise UserError(f"scheduler.warmup_steps must be at least 0, got {self.warmup_steps}")
        for name in ("decay_fraction", "min_ratio"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"scheduler.{name} must lie in [0, 1], got {getattr(self, name)}")


def make_optimizer(config: OptimizerConfig, net: nn.Module) -> Optimizer:
    """AdamW over the network's parameters, decayed as the config says."""
    parameters = [p for p in net.parameters() if p.requires_grad]
    decayed = [p for p in parameters if config.decay == "all" or p.dim() >= 2]
    kept = [p for p in parameters if config.decay != "all" and p.dim() < 2]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}]
    if kept:
        groups.append({"params": kept, "weight_decay": 0.0})
    beta1, beta2 = config.betas
    return torch.optim.AdamW(
        groups, lr=config.lr, betas=(beta1, beta2), eps=config.eps, fused=config.fused
    )


def lr_factor(config: SchedulerConfig, step: int, total_steps: int, epoch_steps: int) -> float:
    """The learning rate of a step (from 0) as a share of optimizer.lr.

    cosine_epoch holds one rate through each epoch of epoch_steps, so epoch 0 has it whole; the
    others move every step and end on min_ratio.
    """
    warmup = min(config.warmup_steps, total_steps)
    if config.name == "none":
        return 1.0
    if config.name == "cosine_epoch":
        return cosine(step // epoch_steps, total_steps / epoch_steps, config.min_ratio)
    if step < warmup:
        return (step + 1) / warmup
    last = total_steps - 1  # a last step of exactly min_ratio, whatever the length
    if config.name == "warmup_cosine":
        return cosine(step - warmup, last - warmup, config.min_ratio)
    decay_steps = max(1, round(config.decay_fraction * total_steps))
    fallen = max(0, step - (last - decay_steps)) / decay_steps
    return 1 - (1 - config.min_ratio) * min(1.0, fallen)


def cosine(at: float, end: float, floor: float) -> float:
    """1 at 0, falling along half a cosine to floor at end (Loshchilov and Hutter, 2017)."""
    progress = min(1.0, at / end) if end > 0 else 1.0
    return floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2
