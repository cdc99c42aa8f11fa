"""Bits per byte of held-out text: logged, kept as the best, shown, and returned to a sweep."""

import csv
import json
import math

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from minigpt.model.loss import IGNORE
from minigpt.runs.metrics import read_metrics
from minigpt.runs.run_folder import RunFolder
from minigpt.tokens.store import TokenStore
from minigpt.training.loss_meter import bits_per_byte, mean, with_bytes
from tests.conftest import run_folders


def test_bytes_are_those_of_the_targets_that_are_text():
    bytes_per_id = torch.tensor([0, 1, 3, 5])  # 0: a separator
    totals = torch.tensor([8 * math.log(2), 4.0], dtype=torch.float64)
    targets = torch.tensor([[2, 0, 1], [2, IGNORE, IGNORE]])
    totals = with_bytes(totals, targets, bytes_per_id)
    assert totals[2] == 3 + 0 + 1 + 3
    assert bits_per_byte(totals) == pytest.approx(8 / 7)
    assert mean(totals) == pytest.approx(2 * math.log(2))
    assert math.isnan(bits_per_byte(None))
    assert math.isnan(bits_per_byte(torch.tensor([1.0, 1.0, 0.0])))


def test_a_run_logs_keeps_and_shows_them(tiny, type_train, corpus, tmp_path):
    for i in range(10):
        (corpus / f"é{i}.txt").write_text(f"{i} été naïve Übermut π{'→' * i}\n" * 3, "utf-8")
    assert type_train(*tiny, "trainer.val_check_interval=2").code == 0
    (folder,) = run_folders(tmp_path)
    (store,) = (TokenStore(path.parent) for path in tmp_path.glob("tokens/*/manifest.json"))
    alphabet = store.manifest.tokenizer["alphabet"]
    for split in ("val", "test"):
        targets = store.tokens(split)[1:]
        size = sum(len(alphabet[i].encode()) for i in targets.tolist())
        assert size > len(targets)
        rows = [row for row in read_metrics(RunFolder(folder).metrics) if f"{split}/loss" in row]
        assert rows
        for row in rows:
            bits = row[f"{split}/loss"] / math.log(2) * len(targets) / size
            assert row[f"{split}/bits_per_byte"] == pytest.approx(bits, rel=1e-6)
    best = RunFolder(folder).read_summary().best
    assert best is not None
    validations = [row for row in read_metrics(RunFolder(folder).metrics) if "val/loss" in row]
    assert best.val_bits_per_byte == min(row["val/bits_per_byte"] for row in validations)
    with (folder / "metrics.csv").open(newline="") as file:
        # A header that changed would make a resumed older run throw its table away.
        assert "val/bits_per_byte" not in next(csv.reader(file))
    events = EventAccumulator(str(folder)).Reload()
    shown = [event.value for event in events.Scalars("hp/bits_per_byte")]
    assert shown[0] == 8
    assert shown[-1] == pytest.approx(best.val_bits_per_byte)


def test_a_run_can_stop_early_by_them(tiny, type_train, tmp_path):
    watched = ["callbacks=early_stopping", "callbacks.early_stopping.patience=1",
               "optimizer.lr=1.0", "trainer.max_epochs=9"]  # fmt: skip
    for monitor in ("val/loss", "val/bits_per_byte"):
        name = monitor.partition("/")[2]
        watch = f"callbacks.early_stopping.monitor={monitor}"
        assert type_train(*tiny, *watched, watch, f"hydra.run.dir={name}").code == 0
    by_loss, by_bits = (
        json.loads((tmp_path / name / "summary.json").read_text()) for name in
        ("loss", "bits_per_byte")
    )  # fmt: skip
    assert len(by_bits["epochs"]) < 9
    assert by_bits["steps"] == by_loss["steps"]
    assert by_bits["best"] == by_loss["best"]
