"""The table of compared runs, rounded for reading."""

from collections.abc import Sequence

from minigpt.model.loss import perplexity
from minigpt.reports.compared_runs import ComparedRun
from minigpt.reports.text import duration, number, setting, shortened, with_error

FIGURES = ["parameters", "train loss", "train ppl", "held-out loss", "held-out ppl",
           "bits per byte", "at step", "gap", "test loss", "test ppl", "tokens", "tokens/s", "time",
           "memory", "status"]  # fmt: skip


def comparison_table(
    runs: Sequence[ComparedRun], keys: Sequence[str]
) -> tuple[list[str], list[list[str]]]:
    """Column names, and the cells of each run; `keys` are the settings that differ."""
    columns = ["run", *(key.rpartition(".")[2] for key in keys), *FIGURES]
    return columns, [_cells(run, keys) for run in runs]


def _cells(run: ComparedRun, keys: Sequence[str]) -> list[str]:
    best, test, total = run.summary.best, run.summary.test, run.documents_total
    return [
        run.name,
        *(shortened(setting(run.settings.get(key))) for key in keys),
        number(run.parameters, ","),
        number(run.train_loss, ".3f"),
        number(perplexity(run.train_loss), ",.1f"),
        number(run.val_loss, ".3f"),
        number(best.val_perplexity if best else None, ",.1f"),
        with_error(total.bits_per_byte, total.bits_per_byte_stderr)
        if total
        else number(run.val_bits, ".3f"),
        number(best.step if best else None, ","),
        number(run.gap, "+.2f"),
        number(run.test_loss, ".3f"),
        number(test.perplexity if test else None, ",.1f"),
        number(run.summary.tokens_seen, ","),
        number(run.tokens_per_second, ",.0f"),
        duration(run.summary.wall_seconds),
        number(run.peak_memory / 2**30, ".2f", " GiB"),
        run.summary.outcome,
    ]
