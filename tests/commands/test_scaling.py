"""`minigpt scaling` prints advice, writes its page, and refuses in one line what it cannot do."""

import json

import pytest

from minigpt.reports import scaling_study
from tests.written_ladders import LAW, write_ladder


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(scaling_study, "RESAMPLES", 20)


def test_a_sweep_ends_with_advice_and_a_page(tmp_path, type_minigpt):
    write_ladder(tmp_path / "sweep")
    typed = type_minigpt("scaling", "sweep", "--flops", "5e12")
    assert (typed.code, typed.err) == (0, "")
    assert typed.out.startswith("For 5e12 operations (")
    assert "page  sweep/scaling.html" in typed.out
    page = (tmp_path / "sweep" / "scaling.html").read_text()
    assert "For 5e12 operations" in page


def test_figures_are_told_to_a_script(tmp_path, type_minigpt):
    write_ladder(tmp_path / "sweep", noise=0.002)
    typed = type_minigpt("scaling", "sweep", "--json", "--hours", "0.5", "--out", "page.html")
    assert (typed.code, typed.err) == (0, "")
    found = json.loads(typed.out, parse_constant=lambda name: 1 / 0)  # NaN is not JSON
    assert found["law"]["alpha"] == pytest.approx(LAW.alpha, rel=0.2)
    between = found["intervals"]["alpha"]
    assert between["low"] <= found["law"]["alpha"] <= between["high"]
    assert found["asked"]["hours"] == pytest.approx(0.5)
    assert len(found["runs"]) == 12
    assert found["page"] == "page.html"
    assert (tmp_path / "page.html").is_file()
    assert not (tmp_path / "sweep" / "scaling.html").exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--flops", "-1"], "--flops must be a finite number above 0, got -1"),
        (["--hours", "nan"], "--hours must be a finite number above 0, got nan"),
        (
            ["--out", "sweep"],
            "--out sweep is a folder; name a file: --out sweep/scaling.html",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tmp_path, type_minigpt, words, line):
    write_ladder(tmp_path / "sweep", widths=(32,), tokens=(1_000_000,))
    typed = type_minigpt("scaling", "sweep", *words)
    assert (typed.code, typed.out, typed.err) == (2, "", f"error: {line}\n")
    assert not (tmp_path / "sweep" / "scaling.html").exists()


def test_both_budgets_at_once_are_refused(type_minigpt):
    typed = type_minigpt("scaling", "sweep", "--flops", "1", "--hours", "1")
    assert (typed.code, typed.err.count("\n")) == (2, 1)
    assert "not allowed with argument --flops" in typed.err
