"""What a reproduction adds to a report: the figures of a published run beside those made here."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from minigpt.reports.compared_runs import ComparedRun
from minigpt.runs.summary import Summary


@dataclass(frozen=True)
class Section:
    """A titled table of a comparison, with findings and a note below it."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    findings: list[str] = field(default_factory=list)
    note: str = ""


class Reproduction(Protocol):
    """A published report whose figures stand beside runs that did what it did."""

    def epoch_losses(self, summary: Summary) -> dict[int, float] | None:
        """The published training loss by epoch, if this run did what the report did."""
        ...

    def section(self, runs: Sequence[ComparedRun]) -> Section | None:
        """The report's own table beside the runs that match it; None where none does."""
        ...
