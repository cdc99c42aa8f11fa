"""A batch computed in parts, as large as the device's memory allows: trainer.auto_accumulate.

Shapes: B batch, T time (tokens).
"""

import gc
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from minigpt.errors import UserError
from minigpt.model.loss import IGNORE
from minigpt.training.processes import agree_on_largest, is_first

WHOLE = 2**31  # more rows than a batch has
MICRO_BATCH = "micro_batch"  # the key of a checkpoint with the rows, so that a resume keeps them

T = TypeVar("T")


class MicroBatches:
    """How many rows of a batch a process computes at once: fewer from where memory ran out on.

    The gradients of a batch are added up before any of them reaches a parameter. So a batch that
    did not fit has changed nothing, and is computed again in smaller parts.
    """

    def __init__(self) -> None:
        self.rows: int | None = None  # None: a whole batch

    def loss(
        self,
        trainer: pl.Trainer,
        loss_of_rows: Callable[[range], Tensor],
        targets: Tensor,
        parameters: Sequence[Tensor],
    ) -> Tensor:
        """The mean loss of a batch, whose backward pass only hands out gradients; a scalar.

        targets (B, T); loss_of_rows: the mean loss of some rows. All processes have to call this.
        """

        def in_parts(rows: int) -> tuple[Tensor, list[Tensor]]:
            return loss_and_gradients(loss_of_rows, targets, parameters, rows)

        loss, gradients = self.fitted(trainer, in_parts, len(targets))
        return _WithGradients.apply(loss, gradients, *parameters)

    def fitted(self, trainer: pl.Trainer, attempt: Callable[[int], T], size: int) -> T:
        """What an attempt with so many rows returns; half as many each time that memory runs out.

        The processes go on with the number of rows that fits in all of them. Raises UserError in
        all of them if a single row does not fit into one.
        """
        while True:
            allowed = self.rows or WHOLE
            rows = min(allowed, size)
            result = _unless_out_of_memory(attempt, rows)
            wanted = allowed if result is not None else (rows + 1) // 2 if rows > 1 else 0
            smallest = -agree_on_largest(trainer, -wanted)
            if smallest == 0:
                raise UserError(
                    "trainer.auto_accumulate: memory runs out even with one sequence at a time; "
                    "lower model.block_size, model.n_embd or model.n_layer"
                )
            if smallest == allowed:
                assert result is not None
                return result
            del result  # of a process that had enough memory: the next attempt needs it
            self.rows = smallest
            _announce(trainer, smallest)


def _unless_out_of_memory(attempt: Callable[[int], T], rows: int) -> T | None:
    """What an attempt returns; None where the device's memory ran out, which is free again then."""
    try:
        return attempt(rows)
    except torch.OutOfMemoryError:
        pass  # its traceback holds the activations, and is gone after this line
    gc.collect()
    torch.cuda.empty_cache()  # else smaller parts would be cut from blocks of the larger ones' size
    return None


def _announce(trainer: pl.Trainer, rows: int) -> None:
    data: Any = trainer.datamodule
    size, processes = data.config.batch_size, trainer.world_size
    parts = -(-size // (rows * processes)) * trainer.accumulate_grad_batches
    if is_first(trainer):
        print(
            f"out of memory at step {trainer.global_step}: from here on a process computes {rows} "
            f"of a batch's sequences at a time, as with data.batch_size={rows * processes} "
            f"trainer.accumulate_grad_batches={parts}",
            file=sys.stderr,
        )


def loss_and_gradients(
    loss_of_rows: Callable[[range], Tensor],
    targets: Tensor,
    parameters: Sequence[Tensor],
    rows: int,
) -> tuple[Tensor, list[Tensor]]:
    """The mean loss of a batch over its valid targets, and its gradients, from parts of some rows.

    targets (B, T). Nothing of a part but its gradients is left when the next one begins.
    """
    is_counted = targets != IGNORE
    count = is_counted.sum().clamp_min(1)
    total, sums = targets.new_zeros((), dtype=torch.float32), list[Tensor]()
    for start in range(0, len(targets), rows):
        part = range(start, min(start + rows, len(targets)))
        loss = loss_of_rows(part) * (is_counted[start : part.stop].sum() / count)
        # As in a backward pass outside of the step: under autocast it would cast once more.
        with torch.autocast(loss.device.type, enabled=False):
            gradients = list(torch.autograd.grad(loss, parameters))
        total += loss.detach()
        if sums:
            torch._foreach_add_(sums, gradients)
        else:
            sums = gradients
        del loss, gradients
    return total, sums


class _WithGradients(torch.autograd.Function):
    """A loss whose gradients are known: its backward pass hands them to the parameters.

    So clipping, accumulation and the sum over processes need not know where they come from.
    """

    @staticmethod
    def forward(ctx: Any, loss: Tensor, gradients: list[Tensor], *parameters: Tensor) -> Tensor:
        ctx.gradients = gradients
        return loss.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        # The last reference goes with them, so that autograd takes them over without a copy.
        gradients, ctx.gradients = ctx.gradients, None
        torch._foreach_mul_(gradients, grad)
        return None, None, *gradients
