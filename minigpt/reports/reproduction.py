"""What a reproduction adds to a report: published figures beside those of our runs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from minigpt.reports.compared_runs import ComparedRun
from minigpt.runs.summary import Summary


@dataclass(frozen=True)
class Section:
    """A titled table of a comparison, with a plot above it, findings and a note below it."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    findings: list[str] = field(default_factory=list)
    note: str = ""
    plot: str = ""  # an SVG element, for the page


class Reproduction(Protocol):
    """A published report, whose figures are shown beside runs with its settings."""

    def epoch_losses(self, summary: Summary) -> dict[int, float] | None:
        """The published training loss by epoch; None if the run has other settings."""
        ...

    def section(self, runs: Sequence[ComparedRun]) -> Section | None:
        """The report's table with the runs that match it; None if no run does."""
        ...
