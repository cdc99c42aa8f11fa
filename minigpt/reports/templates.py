"""The templates of the pages, which lie beside the code that fills them."""

import jinja2

LOADER = jinja2.PackageLoader("minigpt.reports", "")
ENVIRONMENT = jinja2.Environment(loader=LOADER, autoescape=True, undefined=jinja2.StrictUndefined)
# A page loads nothing and sends nothing, whatever a run's files may have brought into it.
ENVIRONMENT.globals["policy"] = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
)


def template(name: str) -> jinja2.Template:
    """A template that escapes every text, and fails where one is missing."""
    return ENVIRONMENT.get_template(name)


def source(name: str) -> str:
    """A file as it is, for a style or a script inside a page."""
    return LOADER.get_source(ENVIRONMENT, name)[0]
