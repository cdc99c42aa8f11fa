"""Imports go down only, and model and tokens never meet below training."""

import ast
from pathlib import Path

import minigpt

ROOT = Path(minigpt.__file__).parent
FLOORS = {"model": 0, "tokens": 0, "training": 1, "analysis": 2, "cli": 3}
BASEMENT = {"errors", "config"}  # open to every floor


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("minigpt"):
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("minigpt"))


def test_imports_go_down_only():
    seen = 0
    for path in ROOT.rglob("*.py"):
        here = path.relative_to(ROOT).parts[0].removesuffix(".py")
        for module in imports(path):
            there = [*module.split("."), "__init__"][1]
            seen += 1
            if there in BASEMENT:
                continue
            assert here not in BASEMENT, f"{path} imports {module}"
            assert there == here or FLOORS[there] < FLOORS[here], f"{path} imports {module}"
    assert seen > 30


def test_init_files_stay_nearly_empty():
    for path in ROOT.rglob("__init__.py"):
        assert len(path.read_text().splitlines()) <= 3
