"""LightningModule: one training step of the network, with its loss and its optimizer.

Shapes: B batch, T time (tokens).
"""

import math
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from minigpt.batches.loader import Batch
from minigpt.errors import UserError, check_choice
from minigpt.model.dropout import Dropout, RowsOfBatch
from minigpt.model.gpt import GPT, GPTConfig
from minigpt.model.loss import METHODS, next_token_loss, resolve_method
from minigpt.training.data_module import TokenDataModule
from minigpt.training.finite import StepNotTakenError, check_finite, scalar_read_syncs
from minigpt.training.lightning_seams import (
    LeanModule,
    at_step_boundary,
    count_training_batches,
    data_parallel_axis,
    settle_position,
)
from minigpt.training.loss_meter import nats_and_tokens
from minigpt.training.micro_batches import MICRO_BATCH, MicroBatches
from minigpt.training.optimizer import (
    OptimizerConfig,
    leave_out_unless_finite,
    make_optimizer,
    use_configured_settings,
)
from minigpt.training.processes import loss_weight
from minigpt.training.schedule import SchedulerConfig, lr_factor
from minigpt.training.sharding import (
    is_sharded,
    release_gathered,
    shard,
    whole,
)
from minigpt.training.skipped_steps import SKIPPED_STEPS, SkippedSteps


class LitGPT(LeanModule):
    """A GPT under training.

    Before every step dropout's random state is set from (seed, epoch, batch), and on a GPU from the
    rank. So a step has the same result in a resumed run as in an undisturbed one. The configs may
    be plain dicts, as a checkpoint has them; `LitGPT.load_from_checkpoint(path)` passes them in.
    """

    def __init__(
        self,
        model: GPTConfig | dict[str, Any],
        optimizer: OptimizerConfig | dict[str, Any],
        scheduler: SchedulerConfig | dict[str, Any],
        tokenizer: dict[str, Any],
        data: dict[str, Any],
        loss: str,
        label_smoothing: float,
        seed: int,
    ) -> None:
        super().__init__()
        check_loss(loss, label_smoothing)
        model = GPTConfig(**model) if isinstance(model, dict) else model
        optimizer = OptimizerConfig(**optimizer) if isinstance(optimizer, dict) else optimizer
        scheduler = SchedulerConfig(**scheduler) if isinstance(scheduler, dict) else scheduler
        # Plain types only, so that the checkpoint opens with weights_only=True.
        self.save_hyperparameters(
            {
                "model": asdict(model),
                "optimizer": asdict(optimizer),
                "scheduler": asdict(scheduler),
                "tokenizer": tokenizer,
                "data": data,
                "loss": loss,
                "label_smoothing": label_smoothing,
                "seed": seed,
            },
            logger=False,
        )
        self.optimizer_config = optimizer
        self.scheduler_config = scheduler
        self.loss_name = loss
        self.label_smoothing = label_smoothing
        self.seed = seed
        self.net = GPT(model)
        self.is_pretrained = False  # True where training starts with the weights of model.from
        self.micro_batches: MicroBatches | None = None  # with trainer.auto_accumulate=true
        self.norms_since_read: Tensor | float = 0.0  # their sum, where reading one at a time syncs
        self.skipped: SkippedSteps | None = None  # with on_nan=skip
        self.dropouts = [m for m in self.net.modules() if isinstance(m, Dropout)]
        self.shared_generator = torch.Generator()  # the same numbers in all processes
        self.trained = list(self.net.parameters())  # a list, since walking the modules takes time
        self.grad_norm: Tensor | None = None  # of the last step, before clipping
        self.learning_rate = math.nan  # of the last step

    def configure_model(self) -> None:
        if self.device_mesh is not None and not is_sharded(self.net):  # trainer.strategy=fsdp2
            shard(self.net, data_parallel_axis(self.device_mesh))
            self.trained = list(self.net.parameters())

    @property
    def loss_method(self) -> str:
        """The way the loss is computed on the network's device: dense, chunked or bfloat16."""
        return resolve_method(self.loss_name, self.device)

    def loss(self, batch: Batch, label_smoothing: float = 0.0) -> Tensor:
        """Mean cross-entropy of a batch in nats a target; a scalar."""
        inputs, targets = batch
        hidden, head = self.net.hidden(inputs), self.net.head
        return next_token_loss(
            hidden, head.weight, head.bias, targets, self.loss_method, label_smoothing,
            self.net.config.logit_softcap,
        )  # fmt: skip

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        loss = self._training_loss(batch, batch_idx)
        totals = nats_and_tokens(loss, batch[1])
        if self.trainer.world_size > 1:
            loss = loss * loss_weight(self.trainer, totals).to(loss.dtype)
        if self.skipped is not None:
            totals = self.skipped.without_bad_loss(totals)
        return {"loss": loss, "nats_and_tokens": totals}

    def _training_loss(self, batch: Batch, batch_idx: int) -> Tensor:
        inputs, targets = batch

        def loss_of_rows(rows: range) -> Tensor:
            self._seed_dropout(batch_idx, rows)
            part = inputs[rows.start : rows.stop], targets[rows.start : rows.stop]
            return self.loss(part, self.label_smoothing)

        if self.micro_batches is None:
            return loss_of_rows(range(len(inputs)))
        if at_step_boundary(self.trainer):
            # Lightning does it too, but only once the new gradients are there beside the old.
            self.zero_grad()
        return self.micro_batches.loss(self.trainer, loss_of_rows, targets, self.trained)

    def _seed_dropout(self, batch_idx: int, part: range) -> None:
        """part: the rows of this process's batch that are computed now."""
        seed = self._step_seed(batch_idx, self.global_rank, *([part.start] if part.start else []))
        # Not torch.manual_seed: it records each call for every kind of device, which takes a
        # millisecond a step and memory that only grows.
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        elif self.trainer.world_size > 1 or self.micro_batches is not None:
            self._place_dropout(batch_idx, part)

    def _place_dropout(self, batch_idx: int, part: range) -> None:
        """Have dropout draw this process's rows of the mask that one process would draw."""
        data = self.trainer.datamodule
        assert isinstance(data, TokenDataModule)
        rows, total = data.rows_of_training_batch(batch_idx)
        self.shared_generator.manual_seed(self._step_seed(batch_idx, 0))
        for module in self.dropouts:
            module.rows = RowsOfBatch(rows.start + part.start, total, self.shared_generator)

    def _step_seed(self, batch_idx: int, *where: int) -> int:
        """where: the rank, and the first row of a part of its batch."""
        place = [self.seed, self.current_epoch, batch_idx, *where]
        return int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0] >> 1)

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = self.loss(batch)
        release_gathered(self.net)
        return nats_and_tokens(loss, batch[1])

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.validation_step(batch, batch_idx)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        # Lightning's own clipping refuses fused AdamW under mixed precision, and hides the norm.
        self.learning_rate = optimizer.param_groups[0]["lr"]
        gradients = [p.grad for p in self.trained if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        self.grad_norm = whole(norm)
        if self.skipped is not None:
            if self.skipped.leaves_out(self.trainer, self.grad_norm):
                for parameter in self.trained:
                    parameter.grad = None  # an optimizer leaves such a parameter as it is
                return
        elif scalar_read_syncs(self):
            leave_out_unless_finite(optimizer, self.grad_norm)
            self.norms_since_read = self.norms_since_read + self.grad_norm
        else:
            check_finite(
                self.trainer,
                self.grad_norm.item(),
                "the gradient norm",
                "training stopped before that step",
                StepNotTakenError,
            )
        if gradient_clip_val is None:
            return
        if gradient_clip_algorithm == "value":
            torch.nn.utils.clip_grad_value_(self.trained, gradient_clip_val)
        else:
            torch.nn.utils.clip_grads_with_norm_(self.trained, gradient_clip_val, norm)

    def configure_optimizers(self) -> Any:
        optimizer = make_optimizer(self.optimizer_config, self.net, self.net.config.scaling)
        batches = count_training_batches(self.trainer)
        total_steps = int(self.trainer.estimated_stepping_batches)
        epoch_steps = math.ceil(batches / self.trainer.accumulate_grad_batches)
        schedule = LambdaLR(
            optimizer,
            lambda step: lr_factor(self.scheduler_config, step, total_steps, epoch_steps),
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def on_train_start(self) -> None:
        schedule = self.lr_schedulers()
        assert isinstance(schedule, LambdaLR)
        use_configured_settings(self.optimizer_config, self.net, schedule, self.net.config.scaling)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        settle_position(self.trainer, checkpoint)
        if self.micro_batches is not None:
            checkpoint[MICRO_BATCH] = self.micro_batches.rows
        if self.skipped is not None:
            checkpoint[SKIPPED_STEPS] = self.skipped.count

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.micro_batches is not None:
            self.micro_batches.rows = checkpoint.get(MICRO_BATCH)
        if self.skipped is not None:
            self.skipped.count = checkpoint.get(SKIPPED_STEPS, 0)


def check_loss(loss: str, label_smoothing: float) -> None:
    """Raises UserError unless both settings of the training loss are allowed."""
    check_choice("loss", loss, METHODS)
    number = isinstance(label_smoothing, int | float) and not isinstance(label_smoothing, bool)
    if not (number and 0 <= label_smoothing < 1):
        raise UserError(f"label_smoothing must lie in [0, 1), got {label_smoothing!r}")
