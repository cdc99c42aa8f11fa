"""Optimizer steps that are left out because a loss or a gradient is not finite: on_nan=skip."""

import lightning.pytorch as pl
import torch
from torch import Tensor

from minigpt.training.finite import StepNotTakenError
from minigpt.training.processes import agree_on_largest

IN_A_ROW = 10  # after so many the weights are no better than the gradients
SKIPPED_STEPS = "skipped_steps"  # the key of a checkpoint with their number


class SkippedSteps:
    """Says which steps to leave out, in all processes alike, and counts them.

    Reads a scalar at each step, for which a GPU has to be waited for.
    """

    def __init__(self) -> None:
        self.count = 0
        self._in_a_row = 0
        self._losses_are_finite: Tensor | None = None  # of the batches since the last step

    def without_bad_loss(self, totals: Tensor) -> Tensor:
        """(2) nats and tokens of a batch -> the same, or zeros where the loss is not finite."""
        is_finite = torch.isfinite(totals[0])
        before = self._losses_are_finite
        self._losses_are_finite = is_finite if before is None else before & is_finite
        return totals.where(is_finite, torch.zeros_like(totals))

    def leaves_out(self, trainer: pl.Trainer, norm: Tensor) -> bool:
        """True if the step with this gradient norm is to be left out; every process has to ask.

        Raises StepNotTakenError after too many in a row.
        """
        losses, self._losses_are_finite = self._losses_are_finite, None
        is_finite = torch.isfinite(norm) & (True if losses is None else losses)
        if not agree_on_largest(trainer, int(not is_finite)):
            self._in_a_row = 0
            return False
        self.count += 1
        self._in_a_row += 1
        if self._in_a_row >= IN_A_ROW:
            raise StepNotTakenError(
                f"{IN_A_ROW} steps in a row were skipped, up to step {trainer.global_step}, since "
                "a loss or gradient was not finite, so training stopped; try a lower optimizer.lr"
            )
        return True
