"""The benchmark of the explorer reports each configuration with one run and with two."""

from tests.conftest import REPOSITORY
from tests.test_docs import prose_of_markdown, too_wide


def test_a_page_has_the_slowest_and_the_largest(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    import explore
    from results import wrapped

    def row(runs, wall, size):
        split = {"documents": 1000, "tokens": 120000}
        return {"runs": runs, "wall": wall, "bytes": size, "cut": 128, "splits": [split]}

    rounds = [row(["a"], 20.0, 3_000_000), row(["a", "b"], 22.0, 4_100_000),
              row(["a"], 21.0, 3_000_000), row(["a", "b"], 23.0, 4_100_000)]  # fmt: skip
    text = wrapped(explore.page({"base": rounds}, "2 threads of a processor"))
    assert too_wide(prose_of_markdown(text)) == []
    assert "| base | 1 | 1,000 | 120,000 | 128 | 20.5 (20.0 to 21.0) | 3.00 |" in text
    assert "| base | 2 | 1,000 | 120,000 | 128 | 22.5 (22.0 to 23.0) | 4.10 |" in text
    assert "The slowest page took 23.0 s, of at most 30 s." in text
    assert "The largest has 4.10 MB" in text
