"""After training and test: what the network makes of held-out text, and gives back of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as pl

from minigpt.evaluation.evaluate import HELD_OUT, evaluate
from minigpt.evaluation.evaluation_files import known_figures, write_evaluation
from minigpt.evaluation.short_extraction import short_extraction
from minigpt.evaluation.trained_model import TrainedModel
from minigpt.model.gpt import GPT
from minigpt.runs.run_folder import RunFolder
from minigpt.runs.stored_model import empty_network, find_separator, read_model
from minigpt.runs.summary import HeldOutText, Status
from minigpt.signals import Interrupted
from minigpt.tokens.tokenizer import from_spec
from minigpt.training.build import Run
from minigpt.training.data_module import TokenDataModule
from minigpt.training.limits import held_out_batches, unlimited_batches
from minigpt.training.sharding import is_sharded


def evaluate_run(run: RunFolder, parts: Run) -> None:
    """Evaluate a trained run's weights as they are, and add the figures to its summary.

    It reads as much text as the run's validation and test did.
    """
    trainer, data = parts.trainer, parts.data
    limits = {split: _tokens_read(trainer, data, split) for split in HELD_OUT}
    splits = [split for split in HELD_OUT if limits[split]]
    if not splits:
        return
    checkpoint = run.best if run.best.exists() else run.last
    # The other processes, which may hold shares of the weights, have ended.
    sharded = is_sharded(parts.lit.net)
    net = read_model(checkpoint).network() if sharded else _copy(parts.lit.net)
    net.to(trainer.strategy.root_device)
    tokenizer = from_spec(data.store.manifest.tokenizer)
    separator = find_separator(tokenizer, net.config.vocab_size, data.config.end_of_text)
    fingerprint = data.store.manifest.fingerprint
    model = TrainedModel(net, tokenizer, separator, checkpoint, fingerprint)
    with _marked_if_interrupted(run):
        evaluation = evaluate(model, data.store, splits, limits=limits)
        write_evaluation(run, evaluation, checkpoint)
    texts = {
        split: HeldOutText(**known_figures(result.total))
        for split, result in evaluation.splits.items()
    }
    _update_summary(run, evaluation=texts)


def look_for_memory(run: RunFolder, parts: Run) -> None:
    """Add to a trained run's summary how much text its last weights give back word for word.

    Nothing is added where it has no last checkpoint, or its context or documents are too short.
    """
    if run.last.exists():
        with _marked_if_interrupted(run):
            comes_back = short_extraction(run, parts.data.store)
        _update_summary(run, comes_back=comes_back)


@contextmanager
def _marked_if_interrupted(run: RunFolder) -> Iterator[None]:
    """A signal within the block marks the run as one to resume, which does the block again.

    A run without a checkpoint to resume from is finished.
    """
    try:
        yield
    except Interrupted:
        _update_summary(run, status=Status.INTERRUPTED if run.last.exists() else Status.FINISHED)
        raise


def _tokens_read(trainer: pl.Trainer, data: TokenDataModule, split: str) -> int:
    """Tokens that a validation or the test read; all of the split's unless they are limited."""
    batches = held_out_batches(trainer, data, split)
    if batches == unlimited_batches(data, split) > 0:
        return len(data.store.tokens(split))
    return batches * data.config.eval_batch_size * data.block_size


def _copy(net: GPT) -> GPT:
    """The network in eval mode, without what torch.compile made of its blocks.

    Compiled blocks would be compiled again for each new shape of a batch. The weights are shared.
    """
    copy = empty_network(net.config)
    copy.load_state_dict(net.state_dict(), assign=True)
    return copy.eval()


def _update_summary(run: RunFolder, **changes: Any) -> None:
    run.write_summary(run.read_summary().model_copy(update=changes))
