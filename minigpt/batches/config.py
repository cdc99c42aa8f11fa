"""All keys of the `data` config group, checked."""

import os
from dataclasses import dataclass
from typing import Any

from minigpt.batches.warmup import BatchWarmup
from minigpt.config import build
from minigpt.errors import UserError, check_at_most, check_positive
from minigpt.tokens.config import CorpusConfig


@dataclass(frozen=True)
class DataConfig(CorpusConfig):
    """The whole `data` group: the corpus, and how it is cut into batches."""

    vocab_size: int | None  # that a model needs for this corpus; null: all of the tokenizer's
    stride: int  # tokens from one training block to the next
    batch_size: int
    eval_batch_size: int
    shuffle: bool
    num_workers: int
    on_gpu: bool  # hold the text on the GPU if it takes at most a quarter of the free memory
    batch_warmup: dict[str, Any] | None = None  # the keys of BatchWarmup

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("data", self, "vocab_size", "stride", "batch_size", "eval_batch_size")
        if self.num_workers < 0:
            raise UserError(f"data.num_workers must be at least 0, got {self.num_workers}")
        check_at_most("data", self, {"num_workers": max(64, 4 * (os.cpu_count() or 1))})
        if self.warmup is not None and self.warmup.start >= self.batch_size:
            raise UserError(
                f"data.batch_warmup.start={self.warmup.start} is not below data.batch_size="
                f"{self.batch_size}, to which batches grow; lower it, or leave the key out"
            )

    @property
    def warmup(self) -> BatchWarmup | None:
        """`batch_warmup`, checked; None if all batches have one size."""
        if self.batch_warmup is None:
            return None
        return build(BatchWarmup, "data.batch_warmup", self.batch_warmup)
