"""After training and test: the run's held-out documents, each read on its own."""

from typing import Any

import lightning.pytorch as pl
import torch

from minigpt.evaluation.evaluate import HELD_OUT, evaluate
from minigpt.evaluation.evaluation_files import known_figures, write_evaluation
from minigpt.evaluation.trained_model import TrainedModel
from minigpt.model.gpt import GPT
from minigpt.runs.run_folder import RunFolder
from minigpt.runs.summary import HeldOutText, Status
from minigpt.signals import Interrupted
from minigpt.tokens.tokenizer import from_spec
from minigpt.training.data_module import TokenDataModule
from minigpt.training.limits import held_out_batches, unlimited_batches
from minigpt.training.lit_gpt import LitGPT


def evaluate_run(run: RunFolder, trainer: pl.Trainer, lit: LitGPT, data: TokenDataModule) -> None:
    """Evaluate a finished run's weights as they are, and add the figures to its summary.

    It reads as much text as the run's validation and test did. A signal marks the run as
    interrupted where it can be resumed, which evaluates it again.
    """
    limits = {split: _tokens_read(trainer, data, split) for split in HELD_OUT}
    splits = [split for split in HELD_OUT if limits[split]]
    if not splits:
        return
    checkpoint = run.best if run.best.exists() else run.last
    model = TrainedModel(
        _copy(lit.net).to(trainer.strategy.root_device),
        from_spec(data.store.manifest.tokenizer),
        checkpoint,
        data.store.manifest.fingerprint,
    )
    try:
        evaluation = evaluate(model, data.store, splits, limits=limits)
        write_evaluation(run, evaluation, checkpoint)
    except Interrupted:
        if run.last.exists():
            _update_summary(run, status=Status.INTERRUPTED)
        raise
    texts = {
        split: HeldOutText(**known_figures(result.total))
        for split, result in evaluation.splits.items()
    }
    _update_summary(run, evaluation=texts)


def _tokens_read(trainer: pl.Trainer, data: TokenDataModule, split: str) -> int:
    """Tokens that a validation or the test read; all of the split's unless they are limited."""
    batches = held_out_batches(trainer, data, split)
    if batches == unlimited_batches(trainer, data, split) > 0:
        return len(data.store.tokens(split))
    return batches * data.config.eval_batch_size * trainer.world_size * data.block_size


def _copy(net: GPT) -> GPT:
    """The network in eval mode, without what torch.compile made of its blocks.

    Compiled blocks would be compiled again for each new shape of a batch. The weights are shared.
    """
    with torch.device("meta"):  # allocates no memory and draws no random numbers
        copy = GPT(net.config)
    copy.load_state_dict(net.state_dict(), assign=True)
    return copy.eval()


def _update_summary(run: RunFolder, **changes: Any) -> None:
    run.write_summary(run.read_summary().model_copy(update=changes))
