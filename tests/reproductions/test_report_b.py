"""Report B's figures beside runs that did what it did."""

import pytest

from minigpt.reports.compared_runs import find_runs
from minigpt.reports.comparison import compare
from minigpt.reproductions.all_reports import REPRODUCTIONS
from minigpt.reproductions.report_b import ReportB, findings, matching_runs
from tests.written_runs import write_report_b, write_run


@pytest.fixture
def folder(tmp_path):
    return write_report_b(tmp_path / "runs")


def test_the_reports_own_figures_hold_its_own_findings(folder):
    matches = matching_runs(find_runs([folder]))
    assert list(matches) == ["baseline", "lower_lr", "wider"]
    sentences = findings(matches)
    assert len(sentences) == 4
    assert all(": held" in sentence for sentence in sentences)
    assert "training loss -0.010 nats" in sentences[0]
    assert "training -19.8%" in sentences[1]
    assert "+60%" in sentences[2]


def test_its_table_stands_beside_the_runs(folder):
    section = ReportB().section(find_runs([folder]))
    assert section.rows[2] == ["2", "4.8460", "127.23", "1.64", "4.8460", "127.23", "1.64"]


def test_another_size_under_the_same_name_is_not_the_reports(tmp_path):
    write_run(tmp_path / "0", 5.0, name="baseline", model__n_embd=256)
    assert ReportB().section(find_runs([tmp_path])) is None


def test_both_pages_have_its_section(folder, tmp_path):
    compare([folder], tmp_path / "out", REPRODUCTIONS)
    for name in ("report.html", "report.md"):
        page = (tmp_path / "out" / name).read_text()
        assert "Beside report B" in page
        assert "4.8460" in page
