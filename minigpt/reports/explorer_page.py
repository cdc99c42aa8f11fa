"""An exploration -> one HTML file that needs no network and stays small."""

import base64
import gzip
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from minigpt.evaluation.exploration import Exploration
from minigpt.evaluation.exploration_figures import SHORTEST_SPAN, exploration_figures
from minigpt.reports.explorer_data import explorer_data
from minigpt.reports.templates import source, template

LARGEST = 5_000_000  # bytes of a page
SPLITS = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class ExplorerPage:
    """A page, and what of an exploration had room on it."""

    html: bytes
    shown: Exploration


def explorer_page(exploration: Exploration, names: Sequence[str]) -> ExplorerPage:
    """The page of an exploration of networks with these names.

    Where it would be larger than LARGEST, the documents are cut until it is not.
    """
    shown = exploration
    while len(html := _html(shown, names)) > LARGEST and shown.cut > 2:
        shown = shown.shortened(max(2, int(0.95 * shown.cut * LARGEST / len(html))))
    return ExplorerPage(html, shown)


def _html(exploration: Exploration, names: Sequence[str]) -> bytes:
    packed = gzip.compress(explorer_data(exploration, names), compresslevel=6, mtime=0)
    page = template("explorer.html.jinja").render(
        names=names,
        splits=[
            {**split, "name": SPLITS[split["split"]]} for split in exploration_figures(exploration)
        ],
        cut=exploration.cut,
        shortest_span=SHORTEST_SPAN,
        style=Markup(source("explorer.css")),
        script=Markup(source("explorer.js")),
        data=base64.b64encode(packed).decode(),
    )
    return page.encode()
