"""Proves before the first step that the model must predict the next token and cannot see it.

A run whose targets are not shifted by one, or whose mask leaks, trains smoothly to a loss near
zero and learns nothing. Shapes: B batch, T time (tokens), V vocabulary.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from minigpt.batches.loader import Batch
from minigpt.errors import UserError
from minigpt.model.gpt import GPT
from minigpt.model.loss import IGNORE
from minigpt.training.callbacks.metrics import Metrics
from minigpt.training.data_module import TokenDataModule
from minigpt.training.lit_gpt import LitGPT
from minigpt.training.sharding import local_share, release_gathered

# Relative tolerance between the training loss and a plain one: bfloat16 keeps 8 bits, 0.004.
LOSS_TOLERANCE = 0.004
# The same of the logits that they are computed from: hidden state, weight and logit are rounded.
LOGIT_TOLERANCE = 0.01
# Nats between an untrained model's loss and ln(V); both initialisations stay within 0.3.
FIRST_LOSS_TOLERANCE = 1.0


class AlignmentGuard(pl.Callback):
    """Checks the real model on the real first batch, then watches for impossibly low losses.

    min_loss: the lowest credible loss on unseen text, in nats a token; 0 turns the watch off, for
    text that really is that predictable. Raises UserError, which stops the run.
    """

    def __init__(self, min_loss: float) -> None:
        if not min_loss >= 0:
            raise UserError(f"callbacks.alignment_guard.min_loss must be at least 0: {min_loss}")
        self.min_loss = min_loss

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        lit, data = _parts(trainer, pl_module)
        inputs, targets = (part.to(lit.device) for part in data.first_batch())
        is_untrained = trainer.global_step == 0 and not lit.is_pretrained

        def check(rows: int) -> bool:
            check_batch(lit, inputs[:rows], targets[:rows], is_untrained)
            return True

        was_training = lit.training
        lit.eval()
        with torch.no_grad():
            if lit.micro_batches is None:
                check(len(inputs))
            else:
                lit.micro_batches.fitted(trainer, check, len(inputs))
        lit.train(was_training)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        if trainer.current_epoch:
            return  # later epochs may have memorised the text
        lit, data = _parts(trainer, pl_module)
        latest = Metrics.of(trainer).latest
        if "train/loss" in latest and data.config.stride >= lit.net.config.block_size:
            # Blocks do not overlap, so all of this text is new.
            self._watch("train/loss", latest["train/loss"], "the first epoch")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking:
            self._watch("val/loss", float(trainer.callback_metrics["val/loss"]), "held-out text")

    def _watch(self, name: str, loss: float, where: str) -> None:
        if loss < self.min_loss:
            raise UserError(
                f"alignment guard: {name} is {loss:.4f} on {where}, below the {self.min_loss} that "
                "unseen text allows; the targets leak into the inputs, or the text is "
                "repeated (if it is truly that predictable: callbacks.alignment_guard.min_loss=0)"
            )


def _parts(trainer: pl.Trainer, module: pl.LightningModule) -> tuple[LitGPT, TokenDataModule]:
    data = trainer.datamodule
    assert isinstance(module, LitGPT)
    assert isinstance(data, TokenDataModule)
    return module, data


def check_batch(lit: LitGPT, inputs: Tensor, targets: Tensor, is_untrained: bool) -> None:
    """Raises UserError unless a module's network and loss pass every check; (B, T) each."""
    check_targets(inputs, targets)
    loss = lit.loss((inputs, targets)).item()
    with zeros_filled(lit.net):
        check_causality(lit.net, inputs)
        check_training_loss(lit.loss, lit.net, inputs)
    if is_untrained:
        check_first_loss(loss, lit.net.config.vocab_size)
    release_gathered(lit.net)


@contextmanager
def zeros_filled(net: GPT) -> Iterator[None]:
    """Within the block, matrices of zeros hold small random numbers: zeros would hide a leak.

    A network of model.zero_init=true starts with blocks that change nothing and logits of zero.
    """
    release_gathered(net)
    zeros = [local_share(p) for p in net.parameters() if p.dim() >= 2 and not p.any()]
    for p in zeros:
        rng = torch.Generator(p.device).manual_seed(0)  # the global state stays as it is
        p.normal_(std=0.02, generator=rng)
    try:
        yield
    finally:
        release_gathered(net)
        for p in zeros:
            p.zero_()


def check_targets(inputs: Tensor, targets: Tensor) -> None:
    """Raises UserError unless target i is input i + 1, for all i that have both; (B, T) each."""
    aligned = (targets[:, :-1] == inputs[:, 1:]) | (targets[:, :-1] == IGNORE)
    if not aligned.all():
        row, i = (~aligned).nonzero()[0].tolist()
        same = (
            " (it is input i itself: the targets are not shifted)"
            if (torch.equal(inputs, targets))
            else ""
        )
        raise UserError(
            f"alignment guard: in block {row} of the first batch, target {i} is token "
            f"{targets[row, i]} but input {i + 1} is {inputs[row, i + 1]}{same}; "
            "target i must be input i + 1"
        )


def check_causality(net: GPT, inputs: Tensor) -> None:
    """Raises UserError if a hidden state changes when only later tokens do; inputs (B, T).

    The head reads each hidden state alone, so its logits depend on the same tokens.
    """
    before = net.hidden(inputs)
    T = inputs.shape[1]
    for cut in sorted({1, T // 2, T - 1} - {0}):
        changed = inputs.clone()
        changed[:, cut:] = (changed[:, cut:] + 1) % net.config.vocab_size
        after = net.hidden(changed)
        # Same shapes, same kernels: without a leak the states differ by rounding at most.
        difference = (after - before)[:, :cut].abs().amax(dim=(0, 2))
        if (difference > 1e-3).any():
            position = int((difference > 1e-3).nonzero()[0])
            raise UserError(
                f"alignment guard: the prediction at position {position} changes when only tokens "
                f"from position {cut} on do; the attention mask lets later tokens through"
            )


def check_training_loss(loss: Callable[[Batch], Tensor], net: GPT, inputs: Tensor) -> None:
    """Raises UserError unless the training loss of target i alone is that of logits i.

    One target at a time: an untrained model's mean over a batch is ln(V) for any targets.
    inputs (B, T).
    """
    row = inputs[:1]
    logits = net(row).float()[0]  # (T, V)
    log_p = logits.log_softmax(-1)
    # Of a trained network they may be large, and each way to compute them rounds otherwise.
    rounding = LOGIT_TOLERANCE * logits.abs().max().item()
    for i in range(0, row.shape[1] - 1, max(1, row.shape[1] // 8)):
        one_target = torch.full_like(row, IGNORE)
        one_target[0, i] = row[0, i + 1]
        training_loss = loss((row, one_target)).item()
        plain = -log_p[i, row[0, i + 1]].item()
        if not abs(training_loss - plain) <= 0.02 + LOSS_TOLERANCE * plain + rounding:
            raise UserError(
                f"alignment guard: the training loss of target {i} in the first batch is "
                f"{training_loss:.4f}, but the logits before it give {plain:.4f}; "
                "the loss compares other tokens than the next"
            )


def check_first_loss(loss: float, vocab_size: int) -> None:
    """Raises UserError unless an untrained model's loss is near ln(V), the loss of guessing."""
    if not abs(loss - math.log(vocab_size)) <= FIRST_LOSS_TOLERANCE:
        raise UserError(
            f"alignment guard: the first loss is {loss:.4f}, an untrained model over {vocab_size} "
            f"tokens has about ln({vocab_size}) = {math.log(vocab_size):.4f}; the targets leak, or "
            "the initialisation is broken"
        )
