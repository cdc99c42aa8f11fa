"""The verdict follows from the held-out text, and the report's figures stand where they belong."""

import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from rich.console import Console

from minigpt.config import compose_config, plain
from minigpt.reports.run_report import deviation, matching_reference, print_report, verdict


def run(train, val, **more):
    epochs = [
        {"epoch": i + 1, "step": 10 * (i + 1), "train/loss": t, "val/loss": v, "seconds": 1.0,
         "train/perplexity": 1.0, "val/perplexity": 529_575.3}
        for i, (t, v) in enumerate(zip(train, val, strict=True))
    ]  # fmt: skip
    at = val.index(min(val))
    best = {"val/loss": val[at], "epoch": at + 1, "step": 10 * (at + 1)}
    return {
        "epochs": epochs, "best": best, "parameters": 6_479_053, "batches_per_epoch": 1264,
        "vocab_size": 49_805,
        "test": {"loss": 8.0, "perplexity": 2980.96}, "tokens_per_second": 9000.0,
        "wall_seconds": 12.3, "peak_memory_bytes": 2**30,
        "sample": {"prompt": "Twice [a] day", "text": ", on"}, **more,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("train", "val", "begins"),
    [
        ([4.2, 1.5, 0.2], [8.3, 9.8, 13.1], "memorised, not learned"),
        ([7.6, 5.5, 4.9], [7.5, 7.3, 7.2], "memorising"),
        ([10.5, 9.8, 9.7], [10.2, 9.9, 9.7], "too early to say"),
        ([5.0, 4.0, 3.5], [5.1, 4.2, 4.4], "overfitting begins"),
        ([5.0, 4.0, 3.5], [5.1, 4.2, 3.8], "generalises"),
        ([5.0, 4.0, 3.5], [4.8, 3.9, 3.4], "generalises"),  # dropout: held-out can be below
    ],
)
def test_the_verdict_follows_from_the_held_out_loss(train, val, begins):
    assert verdict(run(train, val)).startswith(begins)


def test_without_held_out_loss_there_is_no_verdict():
    assert verdict({"epochs": [], "best": None}) == "none: the run has no held-out loss"


def test_the_deviation_names_the_epoch_that_is_furthest_off():
    reference = {1: 4.24, 2: 1.55, 3: 0.88, 10: 0.23}
    text = deviation(run([4.2, 1.5, 0.75], [8.0, 9.0, 10.0]), reference)
    assert "within 0.13 nats" in text
    assert "epoch 3: 0.75 against 0.88" in text


def test_the_reports_figures_stand_beside_its_own_experiment_only():
    config = OmegaConf.create({"reference": plain(compose_config([]).reference)})
    same = run([4.2], [8.0])
    assert matching_reference(config, same) == {
        1: 4.24, 2: 1.55, 3: 0.88, 5: 0.40, 7: 0.28, 10: 0.23,
    }  # fmt: skip
    assert matching_reference(config, {**same, "parameters": 1}) is None
    assert matching_reference(config, {**same, "batches_per_epoch": 200}) is None
    assert matching_reference(OmegaConf.create({}), same) is None


def test_a_printed_report_fits_a_terminal_and_keeps_brackets(tmp_path, capsys):
    (tmp_path / "summary.json").write_text(json.dumps(run([4.2, 0.2], [8.3, 13.1])))
    config = {"reference": plain(compose_config([]).reference)}
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(config)))
    print_report(Path(tmp_path), Console(width=80, highlight=False))
    out = capsys.readouterr().out
    assert "4.24" in out
    assert "Twice [a] day, on" in out
    assert f"tensorboard --logdir {tmp_path.parent}" in out
    assert "…" not in out  # nothing is cut off
