"""A page of sections below a verdict, as one file that needs no network."""

from collections.abc import Sequence

from minigpt.reports.page_section import Section
from minigpt.reports.templates import template


def section_page(
    title: str, subtitle: str, verdict: str, reasons: Sequence[str], sections: Sequence[Section]
) -> str:
    """HTML; every text is escaped."""
    return template("sections.html.jinja").render(
        title=title, subtitle=subtitle, verdict=verdict, reasons=reasons, sections=sections
    )
