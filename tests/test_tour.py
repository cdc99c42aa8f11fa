"""The notebook of the tour runs from its first cell to its last, and is kept without outputs."""

import ast
import json

from tests.conftest import REPOSITORY

TOUR = REPOSITORY / "docs" / "tour.ipynb"
CELLS = [
    cell for cell in json.loads(TOUR.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"
]


def test_every_cell_of_the_tour_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    for cell in CELLS:
        exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    printed = capsys.readouterr().out
    assert names["run"].read_summary().status == "finished"
    assert "optimizer.lr must be" in printed
    assert [len(text.tokens) for text in names["texts"]] == [60, 60]
    assert len(names["runs"]) == 2
    assert (tmp_path / "outputs" / "tour" / "report.html").is_file()


def test_the_tour_is_kept_as_it_is_before_it_ran():
    assert len(CELLS) > 5
    for cell in CELLS:
        assert (cell["outputs"], cell["execution_count"]) == ([], None)


def test_the_tour_shows_every_function_that_the_page_lists_but_verify_resume():
    page = (REPOSITORY / "docs" / "python.md").read_text("utf-8")
    listed = {
        (node.module, alias.name)
        for block in page.split("```py\n")[1:]
        for node in ast.walk(ast.parse(block.split("```")[0]))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    shown = {
        (node.module, alias.name)
        for cell in CELLS
        for node in ast.walk(ast.parse("".join(cell["source"])))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert listed - shown == {("minigpt.commands.verify_resume", "verify_resume")}
