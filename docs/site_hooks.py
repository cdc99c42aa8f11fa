"""MkDocs hooks: pages that come from elsewhere in the tree, and links that leave docs/.

The repository's Markdown links to files as they lie in the tree. In the site a link to a module
goes to the API reference, one to README.md and the like to the page made from it, and one to any
other file outside docs/ becomes plain text. A link to a file that does not exist is a warning,
which `mkdocs build --strict` turns into a failure.
"""

import logging
import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
TOP_PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md",
             "CHANGELOG.md": "changelog.md"}  # fmt: skip
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s#:]+)(#[^)\s]*)?\)")  # no URL, no anchor of the same page

log = logging.getLogger("mkdocs.hooks.site")


def on_config(config: Any) -> Any:
    config.nav.append({"Reference": [{name: uri} for name, uri in _reference_pages()]})
    return config


def on_files(files: Files, config: Any) -> Files:
    for name, uri in TOP_PAGES.items():
        content = (ROOT / name).read_text("utf-8")
        files.append(File.generated(config, uri, content=content))
    for name, uri in _reference_pages():
        folder = ROOT / name.replace(".", "/")
        modules = sorted(folder.glob("*.py") if name == "minigpt" else folder.rglob("*.py"))
        names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in modules]
        blocks = [f"::: {module}" for module in names if not module.endswith("__init__")]
        files.append(File.generated(config, uri, content="\n\n".join([f"# {name}", *blocks])))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    uri = page.file.src_uri
    if uri.startswith("reference/"):
        return markdown
    top = {page_uri: name for name, page_uri in TOP_PAGES.items()}.get(uri)
    source = ROOT / top if top else DOCS / uri

    def rewrite(match: re.Match[str]) -> str:
        text, target, anchor = match[1], match[2], match[3] or ""
        path = Path(os.path.normpath(source.parent / target))
        if not path.exists():
            log.warning("%s links to %s, which does not exist", source.relative_to(ROOT), target)
            return match[0]
        there = _uri_of(path)
        if there is None:
            return text
        page_uri, _, module = there.partition("#")
        relative = os.path.relpath(page_uri, os.path.dirname(uri) or ".")
        return f"[{text}]({relative}{'#' + module if module else anchor})"

    parts = re.split(r"(```.*?```)", markdown, flags=re.DOTALL)  # code keeps its brackets
    return "".join(part if part.startswith("```") else LINK.sub(rewrite, part) for part in parts)


def _uri_of(path: Path) -> str | None:
    """The page of the site that stands for a file of the tree; None where there is none."""
    if path.is_file() and path.is_relative_to(DOCS):
        return path.relative_to(DOCS).as_posix()
    relative = path.relative_to(ROOT)
    if relative.as_posix() in TOP_PAGES:
        return TOP_PAGES[relative.as_posix()]
    if relative.parts[0] == "minigpt" and path.suffix == ".py":
        room = relative.parts[1] if len(relative.parts) > 2 else "minigpt"
        return f"reference/{room}.md#{'.'.join(relative.with_suffix('').parts)}"
    return None


def _reference_pages() -> list[tuple[str, str]]:
    """(name, page) of each room that has a module, and of the modules beside the rooms."""
    rooms = sorted(
        folder.parent.name
        for folder in (ROOT / "minigpt").glob("*/__init__.py")
        if any(path.name != "__init__.py" for path in folder.parent.rglob("*.py"))
    )
    pages = [("minigpt", "reference/minigpt.md")]
    return pages + [(f"minigpt.{room}", f"reference/{room}.md") for room in rooms]
