"""metrics.csv is appended, never rewritten; readers see one row a step; a resume cuts the rest."""

import pytest

from minigpt.errors import UserError
from minigpt.runs.metrics import MetricsWriter, read_metrics
from minigpt.training.csv_logger import MetricsCSV


def write(path, *rows, resume_step=None):
    writer = MetricsWriter(path, resume_step)
    for step, metrics in rows:
        writer.append(step, metrics)
    writer.close()


def test_rows_of_one_step_are_read_as_one(tmp_path):
    path = tmp_path / "metrics.csv"
    write(path, (10, {"train/loss": 3.5}), (20, {"train/loss": 2.5}), (20, {"val/loss": 2.75}))
    assert read_metrics(path) == [
        {"step": 10, "train/loss": 3.5},
        {"step": 20, "train/loss": 2.5, "val/loss": 2.75},
    ]


def test_a_metric_without_a_column_is_kept(tmp_path):
    path = tmp_path / "metrics.csv"
    write(path, (1, {"train/loss": 3.5, "my/metric": 0.25}))
    assert read_metrics(path) == [{"step": 1, "train/loss": 3.5, "my/metric": 0.25}]


def test_what_is_written_is_only_ever_appended(tmp_path):
    path = tmp_path / "metrics.csv"
    write(path, (1, {"train/loss": 3.5}))
    before = path.read_bytes()
    write(path, (2, {"val/loss": 3.25, "my/metric": 1}))
    assert path.read_bytes().startswith(before)
    assert len(read_metrics(path)) == 2


def test_a_row_can_be_read_as_soon_as_it_is_written(tmp_path):
    writer = MetricsWriter(tmp_path / "metrics.csv")
    writer.append(1, {"lr": 0.5})
    assert read_metrics(tmp_path / "metrics.csv") == [{"step": 1, "lr": 0.5}]
    writer.close()


def test_a_resume_cuts_off_the_steps_after_its_own(tmp_path):
    path = tmp_path / "metrics.csv"
    write(path, (10, {"lr": 1}), (20, {"lr": 2}), (20, {"val/loss": 3}), (30, {"lr": 4}))
    write(path, (25, {"lr": 5}), resume_step=20)
    assert read_metrics(path) == [
        {"step": 10, "lr": 1},
        {"step": 20, "lr": 2, "val/loss": 3},
        {"step": 25, "lr": 5},
    ]


def test_a_test_at_the_resumed_step_is_replaced_and_an_earlier_one_is_kept(tmp_path):
    path = tmp_path / "metrics.csv"
    write(path, (10, {"lr": 1}), (10, {"test/loss": 4.5}), (20, {"lr": 2}), (20, {"test/loss": 3}))
    write(path, (20, {"test/loss": 3.25}), resume_step=20)
    lines = path.read_text().splitlines()
    assert [line.partition(",")[0] for line in lines] == ["step", "10", "10", "20", "20"]
    assert read_metrics(path) == [
        {"step": 10, "lr": 1, "test/loss": 4.5},
        {"step": 20, "lr": 2, "test/loss": 3.25},
    ]


@pytest.mark.parametrize("cut", range(1, 22))
def test_a_line_that_a_kill_cut_short_is_left_out_and_a_resume_removes_it(tmp_path, cut):
    path = tmp_path / "metrics.csv"
    write(path, (10, {"lr": 0.125}), (20, {"lr": 0.25, "val/loss": 3}))
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    rows = read_metrics(path)
    assert rows[0] == {"step": 10, "lr": 0.125}
    assert rows[1:] in ([], [{"step": 20, "lr": 0.25, "val/loss": 3}])
    write(path, (20, {"lr": 0.25, "val/loss": 3}), resume_step=20)
    assert read_metrics(path) == [
        {"step": 10, "lr": 0.125},
        {"step": 20, "lr": 0.25, "val/loss": 3},
    ]


@pytest.mark.parametrize("cells", ["inf,1,,,,,,,,,{}", "3,1,,,,,,,,,[]", "3,1,,,,,,,,,7"])
def test_a_row_that_no_run_writes_is_left_out(tmp_path, cells):
    path = tmp_path / "metrics.csv"
    write(path, (1, {"train/loss": 3.5}))
    header = path.read_text().splitlines()[0].split(",")
    step, loss, *_, other = cells.split(",")
    row = {"step": step, "train/loss": loss, header[-1]: other}
    with path.open("a") as file:
        file.write(",".join(row.get(name, "") for name in header) + "\n")
    assert read_metrics(path) == [{"step": 1, "train/loss": 3.5}]


def test_there_are_no_rows_before_there_is_a_file(tmp_path):
    assert read_metrics(tmp_path / "metrics.csv") == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write .*file/metrics.csv: File exists"):
        MetricsWriter(tmp_path / "file" / "metrics.csv")


def test_the_logger_writes_into_the_run_folder(tmp_path):
    logger = MetricsCSV(str(tmp_path))
    logger.log_metrics({"train/loss": 3.5}, 10)
    logger.finalize("success")
    logger.log_metrics({"test/loss": 3.25}, 10)  # a test follows the training
    logger.finalize("success")
    assert read_metrics(tmp_path / "metrics.csv") == [
        {"step": 10, "train/loss": 3.5, "test/loss": 3.25}
    ]
