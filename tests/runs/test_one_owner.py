"""The files of a run are named in runs/ only."""

import ast
from pathlib import Path

import minigpt
from minigpt.runs.run_folder import RunFolder

ROOT = Path(minigpt.__file__).parent


def names_of_files():
    run = RunFolder("run")
    paths = [run.config, run.summary, run.metrics, run.checkpoints, run.best, run.last]
    return {path.name for path in paths}


def strings(path):
    """The string constants of a file that are not docstrings."""
    tree = ast.parse(path.read_text("utf-8"))
    docstrings = {
        id(node.value) for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }  # fmt: skip
    for node in ast.walk(tree):
        constant = isinstance(node, ast.Constant) and id(node) not in docstrings
        if constant and isinstance(node.value, str):
            yield node.value


def test_no_other_room_names_a_file_of_a_run():
    names = names_of_files()
    assert names == {
        "config.yaml", "summary.json", "metrics.csv", "checkpoints", "best.ckpt", "last.ckpt",
    }  # fmt: skip
    for path in ROOT.rglob("*.py"):
        if path.parent.name != "runs":
            named = {name for text in strings(path) for name in names if name in text.split("/")}
            assert not named, path
    for path in (ROOT.parent / "conf").rglob("*.yaml"):
        for line in path.read_text("utf-8").splitlines():
            value = line.partition("#")[0].partition(":")[2]
            assert names.isdisjoint(value.strip().split("/")), path
