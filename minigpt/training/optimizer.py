"""The optimizer, its configuration, and its settings after a resume."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from minigpt.errors import UserError, check_choice, check_positive, check_types
from minigpt.model.gpt import GPTConfig
from minigpt.model.parametrization import STANDARD, Parametrization
from minigpt.training.muon import ALGORITHMS, MuonAndAdamW
from minigpt.training.parameter_groups import (
    KINDS,
    GroupSettings,
    ParameterGroup,
    parameter_groups,
)

DECAYS = ("all", "matrices")
# The keys that decide which parameters are in which group; a resumed run keeps them.
GROUP_KEYS = ("name", "decay", "tables_lr_ratio", "head_lr_ratio", "vectors_lr_ratio",
              "muon_covers")  # fmt: skip
# Of Muon, as torch has them: the coefficients and steps of the Newton-Schulz iteration, and what
# guards it against a division by 0.
NEWTON_SCHULZ = {"ns_coefficients": (3.4445, -4.7750, 2.0315), "ns_steps": 5, "eps": 1e-7}


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW (Loshchilov and Hutter, 2019), alone or beside Muon (Jordan et al., 2024).

    The keys of the `optimizer` config group.
    """

    lr: float
    betas: list[float]
    eps: float
    weight_decay: float
    fused: bool  # of AdamW: one kernel for all parameters
    decay: str  # what weight decay covers: all parameters, or matrices (no biases, no norms)
    # Learning rates as multiples of lr, which is that of the blocks' matrices.
    tables_lr_ratio: float = 1.0  # of token and position tables, and of a head tied to one
    head_lr_ratio: float = 1.0
    vectors_lr_ratio: float = 1.0  # of biases and norms
    name: str = "adamw"  # or muon
    muon_covers: list[str] = field(default_factory=lambda: ["matrices"])  # the rest: AdamW
    momentum: float = 0.95  # of Muon

    def __post_init__(self) -> None:
        check_types("optimizer", self)
        ratios = ("tables_lr_ratio", "head_lr_ratio", "vectors_lr_ratio")
        check_positive("optimizer", self, "lr", "eps", *ratios)
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise UserError(f"optimizer.betas must be two numbers in [0, 1), got {self.betas}")
        if self.weight_decay < 0:
            raise UserError(f"optimizer.weight_decay must be at least 0, got {self.weight_decay}")
        check_choice("optimizer.decay", self.decay, DECAYS)
        check_choice("optimizer.name", self.name, ALGORITHMS)
        if not 0 <= self.momentum < 1:
            raise UserError(f"optimizer.momentum must lie in [0, 1), got {self.momentum}")
        self._check_muon_covers()

    def _check_muon_covers(self) -> None:
        if not self.muon_covers:
            raise UserError("optimizer.muon_covers is empty; optimizer=adamw trains without Muon")
        for kind in self.muon_covers:
            check_choice("optimizer.muon_covers", kind, KINDS)
            if kind == "tables":
                raise UserError(
                    "optimizer.muon_covers=tables: Muon would change all rows of a table, also "
                    "those that no token of the batch looked up; leave tables to AdamW"
                )
            if kind == "vectors":
                raise UserError(
                    "optimizer.muon_covers=vectors: Muon trains matrices only; leave vectors to "
                    "AdamW"
                )

    def settings_of(self, kind: str, scaling: Parametrization) -> GroupSettings:
        """How parameters of a kind are trained; kind is one of parameter_groups.KINDS."""
        ratios = {
            "tables": self.tables_lr_ratio,
            "head": self.head_lr_ratio,
            "vectors": self.vectors_lr_ratio,
        }
        decays = self.decay == "all" or kind != "vectors"
        algorithm = "muon" if self.name == "muon" and kind in self.muon_covers else "adamw"
        scaled = scaling.lr_ratio(kind, algorithm)
        return GroupSettings(algorithm, ratios.get(kind, 1.0) * scaled, decays, 1 / scaled)


def check_covers(config: OptimizerConfig, model: GPTConfig) -> None:
    """Raises UserError where Muon would train a head that is the token table as well."""
    if config.name == "muon" and "head" in config.muon_covers and model.tie_weights:
        raise UserError(
            "optimizer.muon_covers=head: model.tie_weights=true makes the head the token table, "
            "which AdamW has to train; leave head out"
        )


def make_optimizer(
    config: OptimizerConfig, net: nn.Module, scaling: Parametrization = STANDARD
) -> Optimizer:
    """The configured optimizer of a network, in as few groups as the settings allow.

    scaling: that of the network's configuration.
    """
    groups = [
        {"params": group.parameters, **_settings(config, group)}
        for group in parameter_groups(net, partial(config.settings_of, scaling=scaling))
    ]
    if config.name == "muon":
        return MuonAndAdamW(groups)
    return torch.optim.AdamW(groups, lr=config.lr, fused=config.fused)


def _settings(config: OptimizerConfig, group: ParameterGroup) -> dict[str, Any]:
    """What torch's optimizer keeps of a group, besides its parameters."""
    weight_decay = config.weight_decay * group.settings.decay_ratio
    settings = {
        "name": group.name,
        "algorithm": group.settings.algorithm,
        "lr": config.lr * group.settings.lr_ratio,
        "weight_decay": weight_decay if group.settings.decays else 0.0,
    }
    if group.settings.algorithm == "muon":
        # Updates of the size of AdamW's (Liu et al., 2025), so that one rate suits both.
        scale = {"adjust_lr_fn": "match_rms_adamw"}
        return {**settings, "momentum": config.momentum, "nesterov": True, **scale, **NEWTON_SCHULZ}
    beta1, beta2 = config.betas
    return {**settings, "betas": (beta1, beta2), "eps": config.eps, "fused": config.fused}


def leave_out_unless_finite(optimizer: Optimizer, norm: Tensor) -> None:
    """Have fused AdamW leave out the next step if this gradient norm is not finite; () norm.

    It does so on the device, so that nothing waits for the norm, as for gradients that were scaled.
    Muon has no such kernel.
    """
    if isinstance(optimizer, torch.optim.AdamW) and optimizer.defaults["fused"]:
        optimizer.found_inf = (~torch.isfinite(norm)).float()  # type: ignore[attr-defined]


def use_configured_settings(
    config: OptimizerConfig,
    net: nn.Module,
    schedule: LambdaLR,
    scaling: Parametrization = STANDARD,
) -> None:
    """Give a restored optimizer and its schedule the settings of this run's config.

    A checkpoint restores the settings of the run that wrote it together with the moments, and
    would silently win over changed keys. One of an older version does not name its groups.
    """
    optimizer = schedule.optimizer
    groups = parameter_groups(net, partial(config.settings_of, scaling=scaling))
    schedule.base_lrs = [config.lr * group.settings.lr_ratio for group in groups]
    for number, (restored, group) in enumerate(zip(optimizer.param_groups, groups, strict=True)):
        peak = schedule.base_lrs[number]
        factor = schedule.lr_lambdas[number](schedule.last_epoch)
        restored.update(_settings(config, group), initial_lr=peak, lr=peak * factor)
    schedule._last_lr = [group["lr"] for group in optimizer.param_groups]
    for parameter, state in optimizer.state.items():
        if "step" in state:  # of AdamW: its fused kernel reads it on the device, others on the CPU
            state["step"] = state["step"].to(parameter.device if config.fused else "cpu")
