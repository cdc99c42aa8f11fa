"""metrics.csv has one row a step, whatever comes when, and survives a resume."""

import csv

from minigpt.training.csv_logger import MetricsCSV


def rows(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_metrics_of_one_step_share_a_row_and_new_ones_widen_the_table(tmp_path):
    log = MetricsCSV(str(tmp_path))
    log.log_metrics({"a": 1.0}, 10)
    log.log_metrics({"a": 2.0}, 20)
    log.log_metrics({"b": 5.0}, 20)
    log.log_metrics({"a": 3.0}, 30)
    log.save()
    assert rows(tmp_path) == [
        {"step": "10", "a": "1.0", "b": ""},
        {"step": "20", "a": "2.0", "b": "5.0"},
        {"step": "30", "a": "3.0", "b": ""},
    ]


def test_a_resumed_run_keeps_what_was_before_it_and_writes_the_rest_again(tmp_path):
    first = MetricsCSV(str(tmp_path))
    for step in (10, 20, 30):
        first.log_metrics({"a": step, "b": 0}, step)
    first.finalize("failed")
    again = MetricsCSV(str(tmp_path))
    again.log_metrics({"a": 99}, 20)
    again.log_metrics({"a": 7}, 25)
    again.save()
    assert rows(tmp_path) == [
        {"step": "10", "a": "10", "b": "0"},
        {"step": "20", "a": "99", "b": "0"},
        {"step": "25", "a": "7", "b": ""},
    ]
