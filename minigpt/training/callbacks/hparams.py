"""What TensorBoard opens on: HPARAMS beside real metrics, and a page of the curves that matter."""

import io
import math
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard.summary import hparams

from minigpt.atomic_file import write_file
from minigpt.config import flatten
from minigpt.model.loss import perplexity
from minigpt.training.callbacks.metrics import Metrics
from minigpt.training.lightning_seams import hide_later_events
from minigpt.training.lit_gpt import LitGPT
from minigpt.training.processes import is_first

METRICS = ("hp/val_loss", "hp/val_perplexity", "hp/bits_per_byte", "hp/train_loss",
           "hp/tokens_per_second")  # fmt: skip

BITS = 8.0  # of a byte that one knows nothing of

# The Custom Scalars page: what belongs side by side, as TensorBoard's layout names it.
LAYOUT = {
    "training": {
        "loss, training against held-out": ["Multiline", ["train/loss$", "val/loss"]],
        "perplexity": ["Multiline", ["train/perplexity$", "val/perplexity"]],
        "bits per byte of held-out text": ["Multiline", ["val/bits_per_byte"]],
        "learning rate": ["Multiline", ["^lr$"]],
        "gradient norm, before clipping": ["Multiline", ["grad_norm"]],
        "tokens a second": ["Multiline", ["^tokens_per_second$"]],
    }
}

# The file of the row. TensorBoard keeps the first row that it reads, and reads files by name: this
# one comes before those of the writer, whose names go on with the time.
ROW = "events.out.tfevents.0.hparams"

# What a run may be compared by; the rest of the configuration is plumbing.
SECTIONS = ("model", "data", "optimizer", "scheduler", "trainer", "budget", "loss",
            "label_smoothing", "seed")  # fmt: skip


class TensorBoardHparams(pl.Callback):
    """Writes the table's row at each start, then keeps its metrics at the best so far.

    A resumed run replaces the row: its keys may have changed.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self.flat = flatten({key: config[key] for key in SECTIONS if key in config})

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not is_first(trainer):
            return
        assert isinstance(pl_module, LitGPT)
        for logger in _tensorboards(trainer):
            _write_row(Path(logger.log_dir), self.flat)
            if trainer.ckpt_path:
                # A resume before the first step writes the metrics below again.
                hide_later_events(logger, trainer.global_step or -1)
            if trainer.global_step:
                continue
            # Until the first validation, the metrics are those of knowing nothing.
            vocab_size = pl_module.net.config.vocab_size
            start = (math.log(vocab_size), float(vocab_size), BITS, math.log(vocab_size), 0.0)
            logger.log_metrics(dict(zip(METRICS, start, strict=True)), 0)
            logger.experiment.add_custom_scalars(LAYOUT)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        metrics = Metrics.of(trainer)
        if trainer.sanity_checking or metrics.best is None:
            return
        best, latest = metrics.best, metrics.latest
        values = (
            best.val_loss,
            perplexity(best.val_loss),
            math.nan if best.val_bits_per_byte is None else best.val_bits_per_byte,
            latest.get("train/loss", math.nan),
            latest.get("tokens_per_second", math.nan),
        )
        for logger in _tensorboards(trainer):
            logger.log_metrics(dict(zip(METRICS, values, strict=True)), trainer.global_step)


def _write_row(folder: Path, values: dict[str, Any]) -> None:
    content = io.BytesIO()
    records = RecordWriter(content)
    for summary in hparams(values, dict.fromkeys(METRICS, 0.0)):
        records.write(Event(wall_time=time.time(), summary=summary).SerializeToString())
    write_file(folder / ROW, content.getvalue())


def _tensorboards(trainer: pl.Trainer) -> list[TensorBoardLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
