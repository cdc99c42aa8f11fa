"""The report printed when a run ends: epochs, verdict, a sample, and what to run next."""

import math
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from minigpt.command_lines import display_path, generate_command, tensorboard_command
from minigpt.evaluation.memory_verdict import EXTRACTED
from minigpt.reports.reproduction import Reproduction
from minigpt.reports.terminal_table import Console
from minigpt.reports.text import number, short_perplexity, with_error
from minigpt.runs.run_folder import RunFolder
from minigpt.runs.summary import ComesBack, HeldOutText, Summary


def print_report(
    run: RunFolder, reproductions: Sequence[Reproduction] = (), console: Console | None = None
) -> None:
    """Print the report of a finished run, read from its folder."""
    console = console or Console()
    summary = run.read_summary()
    published = next(filter(None, (r.epoch_losses(summary) for r in reproductions)), None)
    console.print(epoch_table(summary, published))
    for name, text in _lines(summary, published):
        console.print(Text.assemble((f"{name:<9}", "bold"), text))
    if sample := summary.sample:
        console.print(
            Text.assemble(("sample   ", "bold"), (sample.prompt, "underline"), sample.text)
        )
    # Commands stay on one line each, so that they can be copied.
    for name, text in {
        "run": str(display_path(run.path)),
        "look": tensorboard_command(run.path.parent),
        "generate": generate_command(run.path, _prompt(summary)),
    }.items():
        console.print(Text.assemble((f"{name:<9}", "bold"), text), soft_wrap=True)


def _prompt(summary: Summary) -> str:
    """A prompt on one line that the run's tokenizer can encode: the start of its own sample."""
    first = summary.sample.prompt.split("\n")[0] if summary.sample else ""
    return first if first.isprintable() and first.strip() and "\ufffd" not in first else "The"


def _lines(summary: Summary, published: dict[int, float] | None) -> list[tuple[str, str]]:
    lines = [("verdict", verdict(summary))]
    if published:
        lines.append(("report", deviation(summary, published)))
    if test := summary.test:
        text = f"loss {test.loss:.3f}, perplexity {short_perplexity(test.perplexity)}"
        if best := summary.best:
            text += (
                ", with the weights of the best held-out loss "
                f"(epoch {best.epoch}, step {best.step:,})"
            )
        lines.append(("test", text))
    if (held_out := summary.held_out) and held_out.bits_per_byte is not None:
        lines.append(("held-out", evaluated(held_out)))
    if summary.tokens_per_second and summary.peak_memory_bytes:
        lines.append(
            (
                "speed",
                f"{summary.tokens_per_second:,.0f} tokens/s, {summary.wall_seconds:,.0f} s in all, "
                f"peak memory {summary.peak_memory_bytes / 2**30:.2f} GiB",
            )
        )
    if summary.skipped_steps or summary.rewinds:
        lines.append(("numbers", not_finite(summary)))
    if rows := summary.micro_batch:
        sequences = "1 sequence" if rows == 1 else f"{rows} sequences"
        lines.append(("memory", f"ran out; since then a batch was computed {sequences} at a time"))
    return lines


def not_finite(summary: Summary) -> str:
    """What became of a run whose loss, gradient or weights were not finite, in words."""
    parts = [
        f"{rewind.reason.partition(',')[0]}: back to step {rewind.to_step} with learning rate "
        f"{rewind.lr:g}"
        for rewind in summary.rewinds
    ]
    if count := summary.skipped_steps:
        parts.append(
            f"{count} of {summary.steps:,} steps skipped, whose loss or gradient was not finite"
        )
    return "; ".join(parts)


def evaluated(text: HeldOutText) -> str:
    """The figures of held-out documents in words."""
    documents = "1 document" if text.documents == 1 else f"{text.documents:,} documents"
    return (
        f"{with_error(text.bits_per_byte, text.bits_per_byte_stderr)} bits per byte on {documents},"
        f" each read on its own (loss {number(text.loss, '.3f')}, the first guess right for "
        f"{number(text.accuracy_at_1, '.1%')} of the tokens)"
    )


def epoch_table(summary: Summary, published: dict[int, float] | None) -> Table:
    """One row per epoch: training and held-out loss, and a published training loss if given."""
    table = Table(title=f"{summary.parameters or 0:,} parameters", title_justify="left")
    columns = ["epoch", "train\nloss", "\nppl", "held-out\nloss", "\nppl", "\nseconds"]
    if published:
        columns[3:3] = ["report's\nloss", "\nppl"]
    for column in columns:
        table.add_column(column, justify="right")
    for row in summary.epochs:
        cells = [f"{row.epoch}", f"{row.train_loss:.3f}", short_perplexity(row.train_perplexity)]
        if published:
            loss = published.get(row.epoch)
            cells += ["", ""] if loss is None else [f"{loss:.2f}", short_perplexity(math.exp(loss))]
        cells += ["", ""] if row.val_loss is None else [
            f"{row.val_loss:.3f}", short_perplexity(row.val_perplexity)
        ]  # fmt: skip
        table.add_row(*cells, f"{row.seconds:.1f}")
    return table


def verdict(summary: Summary) -> str:
    """Memorised, generalised, or neither yet, and how much of its text comes back.

    Memorised: held-out loss ends above its best while training loss fell, a nat or more apart.
    Generalised: held-out loss ends at its best, close to training loss. Neither yet: it is still
    above three quarters of ln(vocabulary), the loss of guessing.
    """
    validated = [
        (row.train_loss, row.val_loss) for row in summary.epochs if row.val_loss is not None
    ]
    best = summary.best
    if not validated or best is None:
        return "none: the run has no held-out loss"
    (first_train, first_val), (train, val) = validated[0], validated[-1]
    gap = val - train
    figures = (
        f"training loss {first_train:.2f} -> {train:.2f}, held-out {first_val:.2f} -> {val:.2f} "
        f"(best {best.val_loss:.2f} in epoch {best.epoch}), gap {gap:.2f} nats"
    )
    if summary.comes_back:
        figures += f"; {word_for_word(summary.comes_back)}"
    rose = val > best.val_loss + 0.05 and train <= first_train
    if gap > 1 and rose:
        return f"memorised, not learned: held-out loss rose while training loss fell; {figures}"
    if gap > 1 and _comes_back_too(summary.comes_back):
        return f"memorising: far better on its own text than on held-out text; {figures}"
    if gap > 1:
        return (
            "too far apart: far better on its own text than on held-out text, though it does not "
            f"come back word for word; {figures}"
        )
    if rose:
        return f"overfitting begins: held-out loss is past its best; {figures}"
    if summary.vocab_size and best.val_loss > 0.75 * math.log(summary.vocab_size):
        return f"too early to say: held-out loss is still near that of guessing; {figures}"
    return f"generalises: held-out loss is at its best and near training loss; {figures}"


def _comes_back_too(share: ComesBack | None) -> bool:
    """True where text of its own comes back beyond held-out text, or nobody looked."""
    return share is None or share.train - (share.held_out or 0.0) > EXTRACTED


def word_for_word(share: ComesBack) -> str:
    """How much text comes back word for word, in words."""
    once = share.train_not_repeated
    repeated = once is not None and f"{once:.1%}" != f"{share.train:.1%}"
    of_these = f" ({once:.1%} of what is not repeated)" if repeated else ""
    control = "" if share.held_out is None else f", {share.held_out:.1%} of held-out passages"
    return (
        f"{share.train:.1%} of its passages come back word for word{of_these}{control} "
        f"({share.continuation} tokens after {share.prefix})"
    )


def deviation(summary: Summary, published: dict[int, float]) -> str:
    """How far this run's epochs are from the report's, in words."""
    pairs = {
        row.epoch: (row.train_loss, published[row.epoch])
        for row in summary.epochs
        if row.epoch in published
    }
    if not pairs:
        return "no epoch to compare"
    epoch = max(pairs, key=lambda e: abs(pairs[e][0] - pairs[e][1]))
    ours, theirs = pairs[epoch]
    return (
        f"training loss within {abs(ours - theirs):.2f} nats of the report's at every epoch it "
        f"gives (most in epoch {epoch}: {ours:.2f} against {theirs:.2f})"
    )
