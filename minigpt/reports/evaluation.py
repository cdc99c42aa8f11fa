"""The figures of an evaluation, printed: by split, by domain and by length of context."""

from pathlib import Path

from rich.text import Text

from minigpt.command_lines import display_path
from minigpt.evaluation.document_scores import Total
from minigpt.evaluation.evaluate import Evaluation
from minigpt.reports.terminal_table import Console, terminal_table
from minigpt.reports.text import number, short_perplexity, with_error
from minigpt.runs.run_folder import RunFolder
from minigpt.tokens.store import TokenStore

SHOWN = 20  # domains in the terminal; evaluation.json has them all

FIGURES = ("documents", "tokens", "loss", "ppl", "bits per byte", "acc@1", "acc@5")


def print_evaluation(
    evaluation: Evaluation, checkpoint: Path, store: TokenStore, out: RunFolder | None
) -> None:
    """Print the figures, how they were made, and where they were written."""
    console = Console()
    console.print(
        Text(f"{display_path(checkpoint.resolve())} on {display_path(store.folder.resolve())}"),
        soft_wrap=True,
    )
    splits = terminal_table("split", *FIGURES)
    for split, result in evaluation.splits.items():
        splits.add_row(split, *_cells(result.total))
    console.print(splits)
    domains = evaluation.splits[evaluation.held_out].domains
    if len(domains) > 1:
        table = terminal_table(f"domain ({evaluation.held_out})", *FIGURES)
        for name, total in list(domains.items())[:SHOWN]:
            table.add_row(Text(name), *_cells(total))
        console.print(table)
        if len(domains) > SHOWN:
            console.print(f"... and {len(domains) - SHOWN} more")
    contexts = terminal_table(f"tokens before ({evaluation.held_out})", "tokens", "loss")
    for c in evaluation.splits[evaluation.held_out].contexts:
        span = f"{c.first}" if c.first == c.last else f"{c.first} to {c.last}"
        contexts.add_row(span, f"{c.tokens:,}", f"{c.loss:.3f}")
    console.print(contexts)
    for name, text in notes(evaluation):
        console.print(Text.assemble((f"{name:<9}", "bold"), text))
    if out is not None:
        written = f"{display_path(out.evaluation.resolve())}, {out.documents.name}"
    else:
        written = "nothing; --out FOLDER writes the figures and a row for each document"
    console.print(Text.assemble(("written  ", "bold"), written), soft_wrap=True)


def notes(evaluation: Evaluation) -> list[tuple[str, str]]:
    """What a reader has to know of how the figures were made, a line each."""
    half = evaluation.block_size // 2
    held_out = evaluation.splits[evaluation.held_out]
    short = sum(c.tokens for c in held_out.contexts if c.last <= half)
    windows = (
        "without overlap"
        if evaluation.stride == evaluation.block_size
        else f"that move on by {evaluation.stride}"
    )
    first = (
        "its first one has only the separator before it"
        if evaluation.scores_first_token
        else "its first one is not scored, since the model knows no separator to put before it"
    )
    return [
        (
            "context",
            f"each document is read on its own, in windows of {evaluation.block_size} tokens "
            f"{windows}; {first}. {short / held_out.total.tokens:.0%} of the tokens have at most "
            f"{half} before them (--stride N gives later windows more)",
        ),
        (
            "compare",
            "the run's validation loss differs a little: it reads the split as one stream, across "
            "the ends of documents, and counts separators",
        ),
    ]


def _cells(total: Total) -> list[str]:
    return [
        f"{total.documents:,}",
        f"{total.tokens:,}",
        with_error(total.loss, total.loss_stderr),
        short_perplexity(total.perplexity),
        with_error(total.bits_per_byte, total.bits_per_byte_stderr),
        number(total.accuracy_at_1, ".1%"),
        number(total.accuracy_at_5, ".1%"),
    ]
