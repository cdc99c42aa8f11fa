"""The page on scaling is written from finished runs."""

from minigpt.reports import scaling_study
from tests.conftest import REPOSITORY
from tests.test_docs import prose_of_markdown, too_wide
from tests.written_ladders import write_ladder, write_rung


def test_the_page_says_how_far_a_larger_run_was_off(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    monkeypatch.setattr(scaling_study, "RESAMPLES", 10)
    import scaling

    write_ladder(tmp_path / "ladder")
    write_rung(tmp_path / "larger", 256, 4_000_000, off=-0.03)
    places = [str(tmp_path / "ladder"), str(tmp_path / "larger")]
    monkeypatch.setattr(
        "sys.argv",
        ["scaling.py", "--stdout", "--trials", "2", "--resamples", "5", "--runs", *places],
    )
    scaling.main()
    page = capsys.readouterr().out
    assert too_wide(prose_of_markdown(page)) == []
    text = " ".join(page.split())
    assert "Fitted to the 12 runs of a small ladder" in text
    assert "nats, outside the bar of 0.02 nats" in text
    assert "| larger | " in text
    assert "| alpha | 2 of 2 |" in text or "| alpha | 1 of 2 |" in text
