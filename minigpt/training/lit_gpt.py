"""LightningModule: the network with its loss, its optimiser and its metrics.

Shapes: B batch, T time (tokens).
"""

import math
import time
from dataclasses import asdict
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from minigpt.batches.loader import Batch
from minigpt.errors import UserError, check_choice
from minigpt.model.gpt import GPT, GPTConfig
from minigpt.model.loss import IGNORE, METHODS, next_token_loss, resolve_method
from minigpt.training.loss_meter import LossMeter
from minigpt.training.optimizer import OptimizerConfig, SchedulerConfig, lr_factor, make_optimizer


class LitGPT(pl.LightningModule):
    """A GPT under training.

    Dropout's random state is set from (seed, epoch, batch, rank) before every step, so a step's
    result depends on where it stands and not on how the process came to it.
    """

    def __init__(
        self,
        model: GPTConfig,
        optimizer: OptimizerConfig,
        scheduler: SchedulerConfig,
        tokenizer: dict[str, Any],
        data: dict[str, Any],
        loss: str,
        label_smoothing: float,
        seed: int,
    ) -> None:
        super().__init__()
        check_loss(loss, label_smoothing)
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
        self.trained = list(self.net.parameters())  # walking the modules costs every step
        self.epoch_meter = LossMeter()  # this epoch's training loss
        self.step_meter = LossMeter()  # training loss since it was last logged
        self.eval_meter = LossMeter()
        self.step_started = time.perf_counter()  # when step_meter was last emptied
        self.latest: dict[str, float] = {}  # step metrics as last logged, for the progress bar
        self.grad_norm: Tensor | None = None
        self.tokens_seen = 0  # until the step that was last logged, and
        self.train_seconds = 0.0  # what they took, without validation

    @property
    def loss_method(self) -> str:
        """The path of the loss on the device that the network is on."""
        return resolve_method(self.loss_name, self.device)

    def loss(self, batch: Batch, label_smoothing: float = 0.0) -> Tensor:
        """Mean cross-entropy of a batch in nats a target; a scalar."""
        inputs, targets = batch
        hidden, head = self.net.hidden(inputs), self.net.head
        return next_token_loss(
            hidden, head.weight, head.bias, targets, self.loss_method, label_smoothing
        )

    # Training

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self._seed_dropout(batch_idx)
        loss = self.loss(batch, self.label_smoothing)
        if not self.reading_waits:
            self._check_finite(
                loss.item(), f"batch {batch_idx + 1}), so training stopped before that step"
            )
        spent = weighed(loss, batch)
        self.epoch_meter.add(spent)
        self.step_meter.add(spent)
        return loss

    def _seed_dropout(self, batch_idx: int) -> None:
        where = [self.seed, self.current_epoch, batch_idx, self.global_rank]
        seed = int(np.random.SeedSequence(where).generate_state(1, np.uint64)[0] >> 1)
        # Not torch.manual_seed, which also notes each call for every kind of device that there
        # could be: a millisecond a step, and memory that only grows.
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    @property
    def reading_waits(self) -> bool:
        """Whether a number is read only once the device has done all that it was given.

        On a GPU, which is given its work ahead, each read would cost a step's worth of that.
        """
        return self.device.type != "cpu"

    def _check_finite(self, loss: float, where: str) -> None:
        if not math.isfinite(loss):
            raise UserError(
                f"the loss is {loss} at step {self.global_step} (epoch "
                f"{self.current_epoch + 1}, {where}; try a lower optimizer.lr, a warm-up "
                "(scheduler=warmup_cosine) or trainer.gradient_clip_val"
            )

    def _check_since_log(self, so: str) -> None:
        if self.step_meter.totals is not None:
            self._check_finite(self.step_meter.mean(), f"or since the last log), so {so}")

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        # Lightning's own clipping refuses fused AdamW under mixed precision, and hides the norm.
        limit = math.inf if gradient_clip_val is None else gradient_clip_val
        self.grad_norm = torch.nn.utils.clip_grad_norm_(self.trained, limit)

    def configure_optimizers(self) -> Any:
        optimizer = make_optimizer(self.optimizer_config, self.net)
        self.trainer.fit_loop.setup_data()  # so that the batches of an epoch can be counted
        total_steps = int(self.trainer.estimated_stepping_batches)
        epoch_steps = math.ceil(
            self.trainer.num_training_batches / self.trainer.accumulate_grad_batches
        )
        schedule = LambdaLR(
            optimizer,
            lambda step: lr_factor(self.scheduler_config, step, total_steps, epoch_steps),
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    # Metrics

    def on_train_start(self) -> None:
        self.step_started = time.perf_counter()

    def on_train_epoch_start(self) -> None:
        self.epoch_meter.reset()

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        stepped = (batch_idx + 1) % self.trainer.accumulate_grad_batches == 0
        if not stepped or self.global_step % self.trainer.log_every_n_steps:
            return
        self._check_since_log("training stopped")
        loss, tokens = self.step_meter.mean(), self.step_meter.tokens()
        seconds = time.perf_counter() - self.step_started
        self._restart_step_meter()
        assert self.grad_norm is not None
        self.latest = {
            "train/loss": loss,
            "train/perplexity": perplexity(loss),
            "lr": self._lr_of_last_step(),
            "grad_norm": self.grad_norm.item(),
            "tokens_per_second": tokens * self.trainer.world_size / seconds,
        }
        self._to_loggers(self.latest)

    def _to_loggers(self, metrics: dict[str, float]) -> None:
        # Not through self.log, which costs every step and counts epoch ends a step short.
        if not self.trainer.testing:  # which belongs to no epoch
            metrics = {"epoch": self.current_epoch + 1, **metrics}
        for logger in self.trainer.loggers:
            logger.log_metrics(metrics, self.global_step)

    def _log(self, metrics: dict[str, float]) -> None:
        """To the loggers, and to the callbacks that watch a metric."""
        # The ranks agree already; without sync_dist Lightning would doubt it at every log.
        self.log_dict(metrics, logger=False, sync_dist=self.trainer.world_size > 1)
        self._to_loggers(metrics)

    def _restart_step_meter(self) -> None:
        now = time.perf_counter()
        self.tokens_seen += self.step_meter.tokens()
        self.train_seconds += now - self.step_started
        self.step_meter.reset()
        self.step_started = now

    def _lr_of_last_step(self) -> float:
        # The scheduler has already moved on to the next step's rate.
        scheduler = self.trainer.lr_scheduler_configs[0].scheduler
        factor = scheduler.lr_lambdas[0](max(0, self.global_step - 1))
        return self.optimizer_config.lr * factor

    def on_train_epoch_end(self) -> None:
        loss = self.mean_loss(self.epoch_meter)
        self._log({"train/loss_epoch": loss, "train/perplexity_epoch": perplexity(loss)})

    def on_validation_epoch_start(self) -> None:
        self._check_since_log("nothing was validated")
        self.eval_meter.reset()
        self._validation_started = time.perf_counter()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.eval_meter.add(weighed(self.loss(batch), batch))

    def on_validation_epoch_end(self) -> None:
        self._log_eval("val")

    def on_validation_end(self) -> None:
        # Validation's time is no part of the training speed.
        self.step_started += time.perf_counter() - self._validation_started

    def on_test_epoch_start(self) -> None:
        self.eval_meter.reset()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.validation_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        self._log_eval("test")

    def _log_eval(self, split: str) -> None:
        loss = self.mean_loss(self.eval_meter)
        self._log({f"{split}/loss": loss, f"{split}/perplexity": perplexity(loss)})

    def mean_loss(self, meter: LossMeter) -> float:
        """A meter's mean over the tokens of all ranks, which must all ask; asking twice is safe."""
        if self.trainer.world_size > 1 and meter.totals is not None:
            meter.totals = self.trainer.strategy.reduce(meter.totals, reduce_op="sum")
        return meter.mean()

    # Resuming

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._check_since_log("nothing was saved")
        checkpoint["meters"] = {
            "epoch": self.epoch_meter.state_dict(),
            "step": self.step_meter.state_dict(),
            "tokens_seen": self.tokens_seen,
            "train_seconds": self.train_seconds + time.perf_counter() - self.step_started,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        meters = checkpoint["meters"]
        self.epoch_meter.load_state_dict(meters["epoch"], self.device)
        self.step_meter.load_state_dict(meters["step"], self.device)
        self.tokens_seen = meters["tokens_seen"]
        self.train_seconds = meters["train_seconds"]


def weighed(loss: Tensor, batch: Batch) -> Tensor:
    """(2): nats and tokens of a batch, given its mean loss; nothing is read from the device."""
    # Float64, so that an epoch's sum keeps its digits; Apple's GPUs have none.
    dtype = torch.float32 if loss.device.type == "mps" else torch.float64
    tokens = (batch[1] != IGNORE).sum().to(dtype)
    return torch.stack((loss.detach().to(dtype) * tokens, tokens))


def check_loss(loss: str, label_smoothing: float) -> None:
    """Raises UserError for a loss that there is not."""
    check_choice("loss", loss, METHODS)
    number = isinstance(label_smoothing, int | float) and not isinstance(label_smoothing, bool)
    if not (number and 0 <= label_smoothing < 1):
        raise UserError(f"label_smoothing must lie in [0, 1), got {label_smoothing!r}")


def perplexity(loss: float) -> float:
    """exp(loss), infinite where that overflows."""
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf
