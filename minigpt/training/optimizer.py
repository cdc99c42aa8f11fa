"""The optimizer's parameter groups, its settings on resume, and learning-rate schedules."""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from minigpt.errors import UserError, check_choice, check_positive, check_types

DECAYS = ("all", "matrices")
NOT_DECAYED = 1  # the number of the parameter group without weight decay, where there is one
SCHEDULES = ("none", "cosine_epoch", "warmup_cosine", "warmup_constant_decay")


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW (Loshchilov and Hutter, 2019); the keys of the `optimizer` config group."""

    lr: float
    betas: list[float]
    eps: float
    weight_decay: float
    fused: bool  # one kernel for all parameters
    decay: str  # what weight decay covers: all parameters, or matrices (no biases, no norms)

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


def make_optimizer(config: OptimizerConfig, net: nn.Module) -> Optimizer:
    """AdamW over the network's parameters, in one group, or in two by weight decay."""
    parameters = [p for p in net.parameters() if p.requires_grad]
    decayed = [p for p in parameters if config.decay == "all" or p.dim() >= 2]
    not_decayed = [p for p in parameters if config.decay != "all" and p.dim() < 2]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}]  # NOT_DECAYED is next
    if not_decayed:
        groups.append({"params": not_decayed, "weight_decay": 0.0})
    beta1, beta2 = config.betas
    return torch.optim.AdamW(
        groups, lr=config.lr, betas=(beta1, beta2), eps=config.eps, fused=config.fused
    )


def use_configured_settings(config: OptimizerConfig, schedule: LambdaLR) -> None:
    """Give a restored optimizer and its schedule the settings of this run's config.

    A checkpoint restores the settings of the run that wrote it together with the moments, and
    would silently win over changed keys.
    """
    optimizer = schedule.optimizer
    beta1, beta2 = config.betas
    for number, group in enumerate(optimizer.param_groups):
        group.update(
            lr=config.lr * schedule.lr_lambdas[number](schedule.last_epoch),
            initial_lr=config.lr,
            betas=(beta1, beta2),
            eps=config.eps,
            weight_decay=0.0 if number == NOT_DECAYED else config.weight_decay,
            fused=config.fused,
        )
    schedule.base_lrs = [config.lr for _ in optimizer.param_groups]
    schedule._last_lr = [group["lr"] for group in optimizer.param_groups]
    for parameter, state in optimizer.state.items():
        # The fused kernel reads the step on the parameter's device, the others on the CPU.
        state["step"] = state["step"].to(parameter.device if config.fused else "cpu")


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
    decay_steps = max(1, round(config.decay_fraction * total_steps))
    progress = max(0, step - (last - decay_steps)) / decay_steps
    return 1 - (1 - config.min_ratio) * min(1.0, progress)


def cosine(at: float, end: float, floor: float) -> float:
    """1 at 0, falling along half a cosine to floor at end (Loshchilov and Hutter, 2017)."""
    progress = min(1.0, at / end) if end > 0 else 1.0
    return floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2
