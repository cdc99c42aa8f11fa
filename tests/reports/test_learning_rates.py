"""A report of several learning rates says which is best, if it moves, and what missing it costs."""

import math

import pytest

from minigpt.reports.compared_runs import find_runs
from minigpt.reports.comparison import compare
from minigpt.reports.learning_rates import learning_rate_section
from minigpt.runs.summary import Status
from tests.written_runs import write_run

RATES = (1e-3, 2e-3, 4e-3, 8e-3)
# Width -> best rate under each parametrization.
BEST = {"standard": {128: 4e-3, 256: 2e-3}, "mup": {128: 4e-3, 256: 4e-3}}


def write_sweep(folder, seeds=(1,)):
    """Losses that rise by the square of the doublings from the best rate; 5 nats there."""
    for name, by_width in BEST.items():
        for width, best in by_width.items():
            for rate in RATES:
                for seed in seeds:
                    loss = 5.0 + math.log2(rate / best) ** 2 + 0.1 * (seed == 2)
                    write_run(
                        folder / f"{name}-{width}-{rate}-{seed}", loss, seed=seed,
                        optimizer__lr=rate, model__n_embd=width, model__parametrization=name,
                    )  # fmt: skip


def test_the_best_rate_of_each_width_and_whether_it_moves(tmp_path):
    write_sweep(tmp_path)
    section = learning_rate_section(find_runs([tmp_path]))
    assert section.columns[:5] == ["parametrization", "n_embd", "best rate", "between rates",
                                   "loss there"]  # fmt: skip
    # (4 + 1 + 0 + 1) / 4 above the best of rates 2 and 1 doublings away, and (1 + 0 + 1 + 4) / 4.
    assert section.rows == [
        ["mup", "128", "0.004", "0.004", "5.0000", "1.5000", "4: 0.001 to 0.008", "1"],
        ["mup", "256", "0.004", "0.004", "5.0000", "1.5000", "4: 0.001 to 0.008", "1"],
        ["standard", "128", "0.004", "0.004", "5.0000", "1.5000", "4: 0.001 to 0.008", "1"],
        ["standard", "256", "0.002", "0.002", "5.0000", "1.5000", "4: 0.001 to 0.008", "1"],
    ]
    assert section.findings == [
        "model.parametrization=mup: at widths 128, 256 the best rate is 0.004, 0.004, a factor of "
        "1 from the lowest to the highest (1 between rates); mean sensitivity 1.500 nats.",
        "model.parametrization=standard: at widths 128, 256 the best rate is 0.004, 0.002, a "
        "factor of 2 from the lowest to the highest (2 between rates); mean sensitivity 1.500 "
        "nats.",
        "One seed: how far chance moves the best rate is not covered.",
    ]


def test_seeds_are_averaged_and_their_number_is_shown(tmp_path):
    write_sweep(tmp_path, seeds=(1, 2))
    section = learning_rate_section(find_runs([tmp_path]))
    assert section.rows[0][4] == "5.0500"
    assert section.rows[0][-1] == "2"
    assert not any("One seed" in sentence for sentence in section.findings)


def test_a_run_that_diverged_counts_as_an_untrained_network(tmp_path):
    for rate, loss in ((1e-3, 6.0), (2e-3, 5.0), (4e-3, 30.0)):
        write_run(tmp_path / f"{rate}", loss, optimizer__lr=rate)
    write_run(tmp_path / "0.008", 5.5, optimizer__lr=8e-3, status=Status.DIVERGED)
    (row,) = learning_rate_section(find_runs([tmp_path])).rows
    assert row[0] == "all"
    # 30 nats and the diverged run count as ln 50,257 each.
    expected = (6 + 5 + 2 * math.log(50_257)) / 4 - 5
    assert float(row[4]) == pytest.approx(expected, abs=1e-4)


def test_a_best_rate_at_the_edge_is_marked(tmp_path):
    for rate in RATES:
        write_run(tmp_path / f"{rate}", 5 + rate, optimizer__lr=rate)
    section = learning_rate_section(find_runs([tmp_path]))
    assert section.rows[0][1] == "0.001*"
    assert "the optimum may lie beyond" in section.findings[0]


def test_two_rates_are_not_a_curve(tmp_path):
    for rate in RATES[:2]:
        write_run(tmp_path / f"{rate}", 5 + rate, optimizer__lr=rate)
    assert learning_rate_section(find_runs([tmp_path])) is None


def test_the_report_has_the_section_and_its_plot(tmp_path):
    write_sweep(tmp_path)
    compare([tmp_path], tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "<h2>Learning rates</h2>\n<figure><svg" in page
    assert "## Learning rates" in (tmp_path / "report.md").read_text()
