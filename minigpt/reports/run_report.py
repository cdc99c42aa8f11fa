"""What a person reads when a run ends: its epochs, the verdict, a sample, and where to look."""

import math
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from minigpt.command_lines import display_path
from minigpt.runs.run_folder import RunFolder
from minigpt.runs.summary import Summary


def print_report(run: RunFolder, console: Console | None = None) -> None:
    """Prints a finished run from its folder alone."""
    console = console or Console(highlight=False)
    summary = run.read_summary()
    reference = matching_reference(run.read_config(), summary)
    console.print(epoch_table(summary, reference))
    console.print(Text.assemble(("verdict  ", "bold"), verdict(summary)))
    if reference:
        console.print(Text.assemble(("report   ", "bold"), deviation(summary, reference)))
    if test := summary.test:
        text = f"loss {test.loss:.3f}, perplexity {test.perplexity:,.2f}"
        if best := summary.best:
            text += (
                ", with the weights of the best held-out loss "
                f"(epoch {best.epoch}, step {best.step:,})"
            )
        console.print(Text.assemble(("test     ", "bold"), text))
    if summary.tokens_per_second:
        console.print(
            Text.assemble(
                ("speed    ", "bold"),
                f"{summary.tokens_per_second:,.0f} tokens/s, "
                f"{summary.wall_seconds:,.0f} s in all, peak memory "
                f"{(summary.peak_memory_bytes or 0) / 2**30:.2f} GiB",
            )
        )
    if sample := summary.sample:
        console.print(
            Text.assemble(("sample   ", "bold"), (sample.prompt, "underline"), sample.text)
        )
    shown = display_path(run.path)
    # Commands stay on one line each, so that they can be copied.
    for name, text in {
        "run      ": f"{shown}",
        "look     ": f"tensorboard --logdir {shown.parent}",
        "generate ": f"minigpt generate {shown} --which last --prompt 'The'",
    }.items():
        console.print(Text.assemble((name, "bold"), text), soft_wrap=True)


def matching_reference(config: Any, summary: Summary) -> dict[int, float] | None:
    """The report's {epoch: training loss} if this run did what the report did, else None."""
    reference = config.get("reference")
    if not reference:
        return None
    for key in ("parameters", "batches_per_epoch"):
        if getattr(summary, key) != reference[key]:
            return None
    return {int(epoch): float(loss) for epoch, loss in reference["train_loss"].items()}


def epoch_table(summary: Summary, reference: dict[int, float] | None) -> Table:
    """A row an epoch: training and held-out loss and perplexity, and the report's training loss."""
    table = Table(title=f"{summary.parameters:,} parameters", title_justify="left")
    columns = ["epoch", "train\nloss", "\nppl", "held-out\nloss", "\nppl", "\nseconds"]
    if reference:
        columns[3:3] = ["report's\nloss", "\nppl"]
    for column in columns:
        table.add_column(column, justify="right")
    for row in summary.epochs:
        cells = [f"{row.epoch}", f"{row.train_loss:.3f}", short(row.train_perplexity)]
        if reference:
            theirs = reference.get(row.epoch)
            cells += ["", ""] if theirs is None else [f"{theirs:.2f}", short(math.exp(theirs))]
        held_out = row.val_loss
        cells += ["", ""] if held_out is None else [f"{held_out:.3f}", short(row.val_perplexity)]
        table.add_row(*cells, f"{row.seconds:.1f}")
    return table


def short(perplexity: float | None) -> str:
    """Two decimals while they mean something, else a whole number."""
    if perplexity is None:
        return ""
    return f"{perplexity:.2f}" if perplexity < 100 else f"{perplexity:,.0f}"


def verdict(summary: Summary) -> str:
    """Memorised, generalised, or neither yet, judged by the held-out text.

    Memorised: held-out loss ends above its best while training loss fell, a nat or more apart.
    Generalised: held-out loss ends at its best, close to training loss. Neither yet: it is still
    above three quarters of ln(vocabulary), what knowing nothing costs, so most of what there is
    to know, word frequencies included, has not been learned.
    """
    epochs = [row for row in summary.epochs if row.val_loss is not None]
    if not epochs or summary.best is None:
        return "none: the run has no held-out loss"
    first, last, best = epochs[0], epochs[-1], summary.best
    train, held_out = last.train_loss, last.val_loss
    assert held_out is not None
    assert first.val_loss is not None
    gap = held_out - train
    figures = (
        f"training loss {first.train_loss:.2f} -> {train:.2f}, "
        f"held-out {first.val_loss:.2f} -> {held_out:.2f} "
        f"(best {best.val_loss:.2f} in epoch {best.epoch}), gap {gap:.2f} nats"
    )
    rose = held_out > best.val_loss + 0.05 and train <= first.train_loss
    if gap > 1 and rose:
        return f"memorised, not learned: held-out loss rose while training loss fell; {figures}"
    if gap > 1:
        return f"memorising: far better on its own text than on held-out text; {figures}"
    if rose:
        return f"overfitting begins: held-out loss is past its best; {figures}"
    if best.val_loss > 0.75 * math.log(summary.vocab_size or 1):
        return f"too early to say: held-out loss is still near that of knowing nothing; {figures}"
    return f"generalises: held-out loss is at its best and near training loss; {figures}"


def deviation(summary: Summary, reference: dict[int, float]) -> str:
    """How far this run's epochs are from the report's, in words."""
    pairs = {
        row.epoch: (row.train_loss, reference[row.epoch])
        for row in summary.epochs
        if row.epoch in reference
    }
    if not pairs:
        return "no epoch to compare"
    epoch = max(pairs, key=lambda e: abs(pairs[e][0] - pairs[e][1]))
    ours, theirs = pairs[epoch]
    return (
        f"training loss within {abs(ours - theirs):.2f} nats of the report's at every epoch it "
        f"gives (most in epoch {epoch}: {ours:.2f} against {theirs:.2f})"
    )
