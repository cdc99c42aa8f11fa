"""The length of a run that has a budget of tokens or operations instead of epochs."""

from bisect import bisect_left
from dataclasses import dataclass

import lightning.pytorch as pl

from minigpt.batches.warmup import BatchSizes
from minigpt.errors import UserError, check_positive, check_types
from minigpt.model.gpt import GPTConfig, training_flops_per_token
from minigpt.training.callbacks.budget_validations import BudgetValidations
from minigpt.training.data_module import TokenDataModule
from minigpt.training.lightning_seams import end_after_steps
from minigpt.training.limits import training_batches

MOST_TOKENS = 1e18


@dataclass(frozen=True)
class BudgetConfig:
    """The keys of `budget`: at most one of tokens and flops. Raises UserError by key."""

    tokens: float | None
    flops: float | None
    validations: int

    def __post_init__(self) -> None:
        check_types("budget", self)
        check_positive("budget", self, "tokens", "flops", "validations")
        if self.tokens is not None and self.flops is not None:
            raise UserError("budget.tokens and budget.flops are both set; leave one out")


@dataclass(frozen=True)
class EpochTokens:
    """The tokens that the steps of an epoch train on; the last step may have fewer."""

    steps: int  # of an epoch, after trainer.limit_train_batches
    per_step: int
    whole_epoch: int

    def after(self, steps: int) -> int:
        """Tokens that a run has trained on after a number of steps."""
        epochs, rest = divmod(steps, self.steps)
        return epochs * self.whole_epoch + rest * self.per_step


@dataclass(frozen=True)
class StreamTokens:
    """The tokens that steps train on where batches grow and passes follow without a gap."""

    sizes: BatchSizes
    block_size: int
    blocks: int  # of a pass over the text
    missing: int  # tokens that the last block of a pass is short of

    def after(self, steps: int) -> int:
        """Tokens that a run has trained on after a number of steps."""
        blocks = self.sizes.before(steps)
        return blocks * self.block_size - blocks // self.blocks * self.missing


def budget_tokens(budget: BudgetConfig, model: GPTConfig) -> float | None:
    """The tokens that a budget allows; None without a budget."""
    if budget.flops is not None:
        return budget.flops / training_flops_per_token(model)
    return budget.tokens


def steps_for(tokens: float, counts: EpochTokens | StreamTokens) -> int:
    """The number of steps, at least 1, whose tokens come nearest to a number of tokens."""
    most = 1
    while counts.after(most) < tokens:
        most *= 2
    more = bisect_left(range(most), tokens, key=counts.after)  # the fewest that reach it
    return min((max(1, more - 1), max(1, more)), key=lambda n: abs(counts.after(n) - tokens))


def count_tokens(trainer: pl.Trainer, data: TokenDataModule) -> EpochTokens | StreamTokens:
    """The tokens that the steps of a run train on.

    Exact, except that the text's last block, which may be short, is counted at the pass's end.
    """
    blocks, block_size, stride = data.blocks["train"], data.block_size, data.config.stride
    steps = max(1, training_batches(trainer, data))  # check_limits refuses 0
    per_step = data.config.batch_size * block_size
    missing = (len(blocks) - 1) * stride + block_size - (len(blocks.tokens) - 1)
    if data.config.warmup is not None:
        sizes = BatchSizes(data.config.warmup, data.config.batch_size)
        return StreamTokens(sizes, block_size, len(blocks), missing)
    whole_text = len(blocks) * block_size - missing
    return EpochTokens(steps, per_step, min(steps * per_step, whole_text))


def apply_budget(
    trainer: pl.Trainer, budget: BudgetConfig, model: GPTConfig, data: TokenDataModule
) -> None:
    """Set the length of a run to its budget, within a batch, and spread out its validations.

    A budget replaces trainer.max_epochs and trainer.val_check_interval. Raises UserError where
    batches are accumulated, or the number of steps is set as well.
    """
    tokens = budget_tokens(budget, model)
    if tokens is None:
        return
    name = "tokens" if budget.flops is None else "flops"
    if tokens > MOST_TOKENS:
        raise UserError(f"budget.{name} asks for {tokens:.3g} tokens; more than {MOST_TOKENS:.0e} "
                        "cannot be counted")  # fmt: skip
    if trainer.max_steps != -1:
        raise UserError(
            f"budget.{name} and trainer.max_steps={trainer.max_steps} both set the length of the "
            f"run; leave one out (trainer.max_steps=-1 or budget.{name}=null)"
        )
    if trainer.accumulate_grad_batches > 1:
        # The last step of an epoch may have fewer batches, so steps would not count tokens.
        raise UserError(
            f"budget.{name} and trainer.accumulate_grad_batches above 1 do not go together; raise "
            "data.batch_size or lower it, or set trainer.max_epochs instead of the budget"
        )
    steps = steps_for(tokens, count_tokens(trainer, data))
    end_after_steps(trainer, steps)
    trainer.callbacks.append(BudgetValidations(steps, budget.validations))
