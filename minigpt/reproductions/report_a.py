"""Report A: a network of 6,479,053 parameters memorises 5,120 tokens in ten epochs."""

from collections.abc import Sequence

from minigpt.reports.compared_runs import ComparedRun
from minigpt.reports.reproduction import Section
from minigpt.runs.summary import Summary

PARAMETERS = 6_479_053
BATCHES_PER_EPOCH = 1_264  # 5,056 windows of 64 tokens, four in a batch
TRAIN_LOSS = {1: 4.24, 2: 1.55, 3: 0.88, 5: 0.40, 7: 0.28, 10: 0.23}  # by epoch, nats a token


class ReportA:
    """Shows its training losses beside a run of the same network and batches per epoch."""

    def epoch_losses(self, summary: Summary) -> dict[int, float] | None:
        same = (PARAMETERS, BATCHES_PER_EPOCH)
        return TRAIN_LOSS if (summary.parameters, summary.batches_per_epoch) == same else None

    def section(self, runs: Sequence[ComparedRun]) -> Section | None:
        return None  # it has a single run
