"""`minigpt coordinates` writes a page, prints verdicts, and says in one line what is wrong."""

import json
import re

import pytest


def test_the_check_is_a_page_a_table_and_an_object(type_minigpt, tiny, tmp_path):
    small = ["--widths", "8,16,32", "--steps", "2"]
    typed = type_minigpt("coordinates", *tiny, *small)
    assert (typed.code, typed.err) == (0, "")
    assert "- mup: the change " in typed.out
    page = (tmp_path / "outputs" / "coordinates.html").read_text()
    assert page.count("<svg") == 2
    assert not re.search(r'(src|href)="(https?:)?//', page)

    typed = type_minigpt("coordinates", *tiny, *small, "--json", "--out", "other/page.html")
    figures = json.loads(typed.out)
    assert figures["page"] == "other/page.html"
    assert (tmp_path / "other" / "page.html").exists()
    assert len(figures["lines"]) == 2 * 5 * 3
    line = next(line for line in figures["lines"] if line["figure"] == "change")
    assert list(line["values"]) == ["8", "16", "32"]
    assert line["flat"] == (line["ratio"] <= 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--widths", "64"], "--widths=64: a check compares two widths or more"),
        (["--widths", "64,wide"], "--widths must be whole numbers between commas, got '64,wide'"),
        (["--widths", "7,14"], "model.n_embd=7 is not a multiple of model.n_head=2; 8 would be"),
        (["--steps", "0"], "--steps must be at least 1, got 0"),
        (["--steps", "900"], "--steps 900: an epoch of this text has "),
        (["--out", "."], "--out . is a folder; name a file in it"),
        (["model.from=gpt2"], "model.from=gpt2: coordinates looks at new networks; leave it out"),
        (["resume=run"], "resume=run: coordinates looks at new networks; leave it out"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(
    type_minigpt, tiny, tmp_path, arguments, message
):
    typed = type_minigpt("coordinates", *tiny, *arguments)
    assert (typed.code, typed.out, typed.err.count("\n")) == (2, "", 1)
    assert typed.err.startswith(f"error: {message}")
    assert not (tmp_path / "outputs").exists()
