"""Prose fits a diff, and no link of a page leads nowhere."""

import re
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

WIDTH = 100

PAGES = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")])
CONFIGS = sorted([*REPOSITORY.glob("conf/**/*.yaml"), REPOSITORY / "mkdocs.yml"])
CODE = sorted(
    [
        *REPOSITORY.glob("*.py"),
        *(path for room in ("minigpt", "tests", "benchmarks", "docs")
          for path in REPOSITORY.glob(f"{room}/**/*.py")),
    ]
)  # fmt: skip

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def name(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def prose_of_markdown(text: str) -> list[tuple[int, str]]:
    """(line number, line without its links' targets), table rows and code blocks left out."""
    lines, in_code = [], False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            in_code = not in_code
        elif not in_code and not line.startswith("|"):
            lines.append((number, re.sub(r"\]\([^)]*\)", "]()", line)))
    return lines


def comments_of_yaml(text: str) -> list[tuple[int, str]]:
    return [(n, line) for n, line in enumerate(text.splitlines(), 1) if re.search(r"(^|\s)#", line)]


def lines_of_python(text: str) -> list[tuple[int, str]]:
    """As ruff counts: without what a tool reads at the end of a line."""
    pragma = re.compile(r"\s*# (type: ignore|noqa).*$")
    return [(number, pragma.sub("", line)) for number, line in enumerate(text.splitlines(), 1)]


def too_wide(lines: list[tuple[int, str]]) -> list[str]:
    return [f"{number}: {line}" for number, line in lines if len(line) > WIDTH]


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_prose_in_markdown_is_at_most_100_wide(path):
    assert too_wide(prose_of_markdown(path.read_text("utf-8"))) == []


@pytest.mark.parametrize("path", CONFIGS, ids=name)
def test_a_comment_in_yaml_ends_within_100_columns(path):
    assert too_wide(comments_of_yaml(path.read_text("utf-8"))) == []


def test_python_is_at_most_100_wide():
    wide = {
        name(path): lines
        for path in CODE
        if (lines := too_wide(lines_of_python(path.read_text("utf-8"))))
    }
    assert len(CODE) > 50
    assert wide == {}


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_every_relative_link_points_to_something_that_exists(path):
    """`make docs` checks the anchors too."""
    missing = [
        target
        for line in prose_and_tables(path)
        for target in LINK.findall(line)
        if not re.match(r"[a-z]+:|#", target)
        and not (path.parent / target.partition("#")[0]).exists()
    ]
    assert missing == []


def prose_and_tables(path: Path) -> list[str]:
    return re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.S).splitlines()


def test_what_counts_as_prose():
    text = "a [b](c.md) d\n| row |\n```sh\ncode\n```\nend"
    assert prose_of_markdown(text) == [(1, "a [b]() d"), (6, "end")]
    assert comments_of_yaml("a: 1\nb: 2 # two\n# three") == [(2, "b: 2 # two"), (3, "# three")]
