"""A section of a page: sentences, a picture, a table, quoted text, and notes."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Quotation:
    """Text that came back, after the text that was given."""

    target: str  # id of the element that the source links to
    source: str
    note: str
    prefix: str
    text: str


@dataclass(frozen=True)
class Section:
    """Plain text, except for the plot, which is an SVG element."""

    title: str
    sentences: list[str]
    columns: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)  # of the rows, for links to them
    plot: str = ""
    caption: str = ""  # of the plot
    quotations: list[Quotation] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # how it was measured, what it cannot show
