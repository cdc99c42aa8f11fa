"""What TensorBoard opens on: HPARAMS beside real metrics, and a page of the curves that matter."""

import math
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.loggers import TensorBoardLogger

from minigpt.config import flatten
from minigpt.model.loss import perplexity
from minigpt.training.callbacks.metrics import Metrics
from minigpt.training.lightning_seams import hide_later_events
from minigpt.training.lit_gpt import LitGPT
from minigpt.training.processes import is_first

METRICS = ("hp/val_loss", "hp/val_perplexity", "hp/train_loss", "hp/tokens_per_second")

# The Custom Scalars page: what belongs side by side, as TensorBoard's layout names it.
LAYOUT = {
    "training": {
        "loss, training against held-out": ["Multiline", ["train/loss$", "val/loss"]],
        "perplexity": ["Multiline", ["train/perplexity$", "val/perplexity"]],
        "learning rate": ["Multiline", ["^lr$"]],
        "gradient norm, before clipping": ["Multiline", ["grad_norm"]],
        "tokens a second": ["Multiline", ["^tokens_per_second$"]],
    }
}

# What a run may be compared by; the rest of the configuration is plumbing.
SECTIONS = ("model", "data", "optimizer", "scheduler", "trainer", "budget", "loss",
            "label_smoothing", "seed")  # fmt: skip


class TensorBoardHparams(pl.Callback):
    """Writes the table's row and the layout once, then keeps the metrics at the best so far."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.flat = flatten({section: config[section] for section in SECTIONS})

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.ckpt_path and is_first(trainer):
            # A resume before the first step writes the row again.
            last_step = trainer.global_step or -1
            for logger in _tensorboards(trainer):
                hide_later_events(logger, last_step)
        if trainer.global_step:
            return  # resumed: the row is there
        assert isinstance(pl_module, LitGPT)
        # The row must name its metrics; until the first validation they are those of knowing
        # nothing.
        vocab_size = pl_module.net.config.vocab_size
        start = (math.log(vocab_size), float(vocab_size), math.log(vocab_size), 0.0)
        for logger in _tensorboards(trainer):
            logger.log_hyperparams(self.flat, dict(zip(METRICS, start, strict=True)))
            logger.experiment.add_custom_scalars(LAYOUT)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        metrics = Metrics.of(trainer)
        if trainer.sanity_checking or metrics.best is None:
            return
        best, latest = metrics.best.val_loss, metrics.latest
        values = (
            best,
            perplexity(best),
            latest.get("train/loss", math.nan),
            latest.get("tokens_per_second", math.nan),
        )
        for logger in _tensorboards(trainer):
            logger.log_metrics(dict(zip(METRICS, values, strict=True)), trainer.global_step)


def _tensorboards(trainer: pl.Trainer) -> list[TensorBoardLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
