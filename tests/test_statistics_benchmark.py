"""The benchmark of the report's statistics runs at toy size and says what it found."""

import sys

from tests.conftest import REPOSITORY
from tests.test_docs import prose_of_markdown, too_wide


def test_the_page_on_statistics_is_written_at_toy_size(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    import differences

    argv = ["differences.py", "--pairs", "8", "--real", "0", "--runs", "4", "--documents", "20"]
    monkeypatch.setattr(sys, "argv", [*argv, "--stdout"])
    monkeypatch.setattr(differences, "DRAWS", 20)
    differences.main()
    page = capsys.readouterr().out
    assert too_wide(prose_of_markdown(page)) == []
    text = " ".join(page.split())
    assert "a report of 4 runs on 20 documents each take 0." in text
    assert text.count("| on any text |") == 3
    assert "| 0.002 | " in text


def test_real_runs_that_are_shifted_are_told_apart_and_equal_ones_are_not(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    import differences
    import numpy as np

    from minigpt.evaluation.document_table import DocumentTable

    rng = np.random.default_rng(1)
    tokens, names = np.arange(50, 90), [str(i) for i in range(40)]
    hard = rng.normal(4, 0.7, 40)
    tables = [
        DocumentTable(names, tokens, 4 * tokens, tokens * (hard + 0.001 * rng.normal(size=40)))
        for _ in range(12)
    ]
    assert differences.real_pairs(tables, 50, 0.01) == 50
    assert differences.real_pairs(tables, 50, 0.0) < 15
    assert differences.spread_of(tables).startswith(
        "40 documents; the deviation over seeds is 0.00"
    )
