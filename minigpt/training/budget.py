"""How long a run is, where it is given tokens or operations instead of epochs."""

import math
from dataclasses import dataclass

import lightning.pytorch as pl

from minigpt.errors import UserError, check_positive, check_types
from minigpt.model.gpt import GPTConfig, training_flops_per_token
from minigpt.training.lightning_seams import end_after_steps


@dataclass(frozen=True)
class BudgetConfig:
    """The keys of `budget`: at most one of tokens and flops. Raises UserError by key."""

    tokens: float | None
    flops: float | None
    validations: int

    def __post_init__(self) -> None:
        check_types("budget", self)
        check_positive("budget", self, "tokens", "flops", "validations")
        for name in ("tokens", "flops"):
            if not math.isfinite(getattr(self, name) or 0):
                raise UserError(f"budget.{name} must be a finite number")
        if self.tokens is not None and self.flops is not None:
            raise UserError("budget.tokens and budget.flops are both set; one has to decide")


def budget_steps(budget: BudgetConfig, model: GPTConfig, blocks_per_step: int) -> int | None:
    """Optimizer steps that spend a budget, to the nearest multiple of its validations.

    So the last step has its validation, and no two runs differ by more than half as many steps.
    None where there is no budget.
    """
    tokens = budget.tokens
    if budget.flops is not None:
        tokens = budget.flops / training_flops_per_token(model)
    if tokens is None:
        return None
    steps = tokens / (blocks_per_step * model.block_size)
    return budget.validations * max(1, round(steps / budget.validations))


def apply_budget(
    trainer: pl.Trainer, budget: BudgetConfig, model: GPTConfig, batch_size: int
) -> None:
    """Ends a trainer's run with its budget, and spreads the validations over it.

    Raises UserError where batches are accumulated.
    """
    steps = budget_steps(budget, model, batch_size * trainer.world_size)
    if steps is None:
        return
    if trainer.accumulate_grad_batches > 1:
        # An epoch's last step can be of fewer batches, so steps would not count tokens.
        raise UserError(
            "a budget and trainer.accumulate_grad_batches above 1 do not go together; raise "
            "data.batch_size or lower it, or set trainer.max_epochs instead of the budget"
        )
    end_after_steps(trainer, steps, steps // budget.validations)
