"""Memory or learning as a page: the verdict first, then what it rests on."""

from collections.abc import Sequence

from minigpt.command_lines import display_path
from minigpt.evaluation.memorization_result import Memorization
from minigpt.reports.page_section import Section
from minigpt.reports.section_page import section_page
from minigpt.reports.terminal_table import Console
from minigpt.runs.run_folder import RunFolder
from minigpt.runs.summary import Summary


def memorization_html(run: RunFolder, memory: Memorization, sections: Sequence[Section]) -> str:
    """The page as one file that needs no network."""
    title = f"Memory or learning: {display_path(run.path.resolve())}"
    judgement = memory.judgement
    about = subtitle(run.read_summary(), memory)
    return section_page(title, about, judgement.sentence, judgement.reasons, sections)


def subtitle(summary: Summary, memory: Memorization) -> str:
    """What was measured, and how often the network read its text."""
    parts = [f"the weights of {memory.checkpoint}"]
    if summary.parameters:
        parts.append(f"{summary.parameters:,} parameters")
    if summary.data and (tokens := summary.data.tokens.get("train")):
        passes = summary.tokens_seen / tokens
        parts.append(f"{tokens:,} tokens of training text")
        if passes < 1:
            parts.append(f"of which it read {passes:.0%}, so its memory of the rest is none")
        else:
            parts.append(f"each read {passes:,.1f} times")
    return ", ".join(parts)


def print_memorization(
    run: RunFolder, memory: Memorization, console: Console | None = None
) -> None:
    """Print the verdict, its reasons, the longest span, and where the page is."""
    console = console or Console()
    console.print(memory.judgement.sentence, style="bold", markup=False)
    for reason in memory.judgement.reasons:
        console.print(f"- {reason}", markup=False)
    if memory.train_spans:
        span = memory.train_spans[0]
        console.print(
            f"- The longest span that comes back has {span.tokens:,} tokens: {span.document}, "
            f"from token {span.position:,}.",
            markup=False,
        )
    console.print(f"\npage  {display_path(run.memorization_page.resolve())}", soft_wrap=True)
