"""One optimizer that trains matrices with Muon and everything else with AdamW."""

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import AdamW, Muon, Optimizer

ALGORITHMS = {"muon": Muon, "adamw": AdamW}


class MuonAndAdamW(Optimizer):
    """Muon (Jordan et al., 2024) or AdamW for each group, as its `algorithm` says.

    One object with one state and one list of groups, so that clipping, schedule, checkpoint and
    resume need not know that there are two. torch's optimizers only take its steps. groups: at
    least one for each algorithm.
    """

    def __init__(self, groups: list[dict[str, Any]]) -> None:
        self.steppers = {
            name: algorithm([group for group in groups if group["algorithm"] == name])
            for name, algorithm in ALGORITHMS.items()
        }
        # The same dicts, to which the steppers have added what they need.
        super().__init__(groups, defaults={})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for name, stepper in self.steppers.items():
            # Loading a checkpoint replaces both.
            stepper.state = self.state
            stepper.param_groups = [g for g in self.param_groups if g["algorithm"] == name]
            stepper.step()
        return loss
