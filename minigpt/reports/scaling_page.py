"""A scaling law as a page and in the terminal: the advice first, then what it rests on."""

from collections.abc import Sequence
from pathlib import Path

from minigpt.command_lines import display_path
from minigpt.reports.page_section import Section
from minigpt.reports.plots import amount
from minigpt.reports.scaling_advice import Advice
from minigpt.reports.scaling_findings import plain_range, reasons, size_range, subtitle, verdict
from minigpt.reports.scaling_plots import fit_plot, iso_flop_plot
from minigpt.reports.scaling_study import Scaling
from minigpt.reports.section_page import section_page
from minigpt.reports.terminal_table import Console, terminal_table
from minigpt.reports.text import number, operations

ADVICE = ["operations", "hours", "size", "size, 95%", "tokens", "tokens, 95%", "passes", "loss"]
NAMES = {"size_exponent": "a, where the best size grows as compute^a"}
PARAMETERS = ["parameter", "value", "95% of resamples"]
RUNS = ["run", "size", "tokens", "operations", "measured", "fitted", "difference"]
METHOD = [
    "The law is L(N, D) = E + A / N^alpha + B / D^beta (Hoffmann et al., 2022, approach 3), fitted "
    "as Besiroglu et al. (2024) mend it: a Huber loss on log losses, summed over the runs, from "
    "many starts until nothing improves.",
    "N counts the parameters that take part in matrix products: the blocks and the head. The table "
    "of embeddings only looks up, but a small network's head is much of its work, and leaving it "
    "out bends the exponents (Porian et al., 2024; Pearce and Song, 2024).",
    "A token that was trained on before counts for less (Muennighoff et al., 2023: after R "
    "repetitions of U tokens D is U + U R* (1 - exp(-R / R*)) with their R* = 15.39).",
    "Intervals come from laws of resampled runs: seeds are drawn first, then the runs of each.",
]


def scaling_html(scaling: Scaling, title: str) -> str:
    """The page as one file that needs no network."""
    return section_page(
        f"Scaling: {title}", subtitle(scaling), verdict(scaling), reasons(scaling),
        sections(scaling),
    )  # fmt: skip


def sections(scaling: Scaling) -> list[Section]:
    asked = [scaling.asked] if scaling.asked else []
    advice = sorted([*scaling.table, *asked], key=lambda a: a.flops)
    return [
        Section(
            "The best size for a budget", [], ADVICE, [_advice_row(a) for a in advice],
            plot=iso_flop_plot(scaling),
            caption="Each curve spends one budget of operations on all sizes (isoFLOP). Advice for "
            "hours also weighs how fast each size is, so it can differ from the stars.",
            notes=["Beyond the compute, size or tokens of the runs the law is extrapolated: "
                   + "; ".join(f"{operations(a.flops)}: {', '.join(a.outside)}"
                               for a in advice if a.outside)]
            if any(a.outside for a in advice)
            else [],
        ),
        Section("The law", [], PARAMETERS, _parameter_rows(scaling), notes=METHOD),
        Section(
            "The runs", [], RUNS, _run_rows(scaling), plot=fit_plot(scaling),
            notes=[f"Left out: {line}." for line in scaling.ladder.left_out],
        ),
    ]  # fmt: skip


def print_scaling(scaling: Scaling, page: Path) -> None:
    """Print the advice, what it rests on, the table of budgets, and where the page is."""
    console = Console()
    console.print(verdict(scaling), style="bold")
    for reason in reasons(scaling):
        console.print(f"- {reason}")
    for line in scaling.ladder.left_out:
        console.print(f"- Left out: {line}.")
    console.print()
    _print_table(console, ADVICE, [_advice_row(advice) for advice in scaling.table])
    console.print("* beyond the runs: an extrapolation")
    console.print()
    _print_table(console, PARAMETERS, _parameter_rows(scaling))
    console.print(f"\npage  {display_path(page.resolve())}", soft_wrap=True)


def _print_table(console: Console, columns: Sequence[str], rows: Sequence[list[str]]) -> None:
    table = terminal_table(*columns)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _advice_row(advice: Advice) -> list[str]:
    return [
        operations(advice.flops) + ("*" if advice.outside else ""),
        number(advice.hours, ".2f"),
        amount(advice.size), size_range(advice.size_interval),
        amount(advice.tokens), size_range(advice.tokens_interval),
        number(advice.passes, ".2f"),
        number(advice.loss, ".3f"),
    ]  # fmt: skip


def _parameter_rows(scaling: Scaling) -> list[list[str]]:
    law = scaling.law
    values = {"E": law.E, "A": law.A, "alpha": law.alpha, "B": law.B, "beta": law.beta,
              "size_exponent": law.size_exponent}  # fmt: skip
    return [
        [NAMES.get(name, name), f"{value:.4g}", plain_range(scaling.intervals[name], ".4g")]
        for name, value in values.items()
    ]


def _run_rows(scaling: Scaling) -> list[list[str]]:
    return [
        [run.name, f"{run.size:,}", f"{run.tokens:,}", operations(run.flops), f"{run.loss:.3f}",
         f"{scaling.fitted(run):.3f}", f"{scaling.fitted(run) - run.loss:+.3f}"]
        for run in scaling.ladder.runs
    ]  # fmt: skip
