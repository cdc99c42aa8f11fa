"""A page of sections below a verdict, as one file that needs no network."""

from collections.abc import Sequence

import jinja2

from minigpt.reports.page_section import Section


def section_page(
    title: str, subtitle: str, verdict: str, reasons: Sequence[str], sections: Sequence[Section]
) -> str:
    """HTML; every text is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("minigpt.reports", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("sections.html.jinja").render(
        title=title, subtitle=subtitle, verdict=verdict, reasons=reasons, sections=sections
    )
