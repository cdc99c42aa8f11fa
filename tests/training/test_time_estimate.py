"""A run says early how long it will take, and how to have a shorter one."""

import re
import sys
from types import SimpleNamespace

import pytest

from minigpt.command_lines import quick_command
from minigpt.training import time_estimate
from minigpt.training.lit_gpt import LitGPT
from minigpt.training.time_estimate import Work, full_batches, quicker, readable


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (99, "99 s"), (150, "2 min"), (5940, "99 min"), (6000, "1.7 h"),
     (86400 * 60, "1,440.0 h")],
)  # fmt: skip
def test_a_time_is_readable(seconds, text):
    assert readable(seconds) == text


def test_a_held_out_batch_takes_a_third_of_a_training_batch():
    assert Work(batches=100, held_out=30).seconds(0.5) == pytest.approx(55)


def test_small_batches_of_a_warm_up_count_for_less(data):
    config = data(files=["a.txt"], batch_size=16, batch_warmup={"start": 2, "steps": 4})
    assert full_batches(config, 0, 4) == (2 + 5 + 9 + 12) / 16
    assert full_batches(config, 3, 6) == 12 / 16 + 2
    assert full_batches(data(files=["a.txt"]), 3, 6) == 3


@pytest.mark.parametrize(
    ("typed", "shorter"),
    [
        ([], "python train.py trainer=quick"),
        (["model=wide", "trainer.max_epochs=50", "seed=3"],
         "python train.py model=wide seed=3 trainer=quick"),
        (["-m", "seed=1,2", "budget.tokens=1e9", "hydra.sweep.dir=s"],
         "python train.py -m seed=1,2 trainer=quick"),
        (["data.files=[a b.txt]", "trainer=reference"],
         "python train.py 'data.files=[a b.txt]' trainer=quick"),
        (["trainer.val_check_interval=500", "+trainer.check_val_every_n_epoch=5"],
         "python train.py trainer=quick"),
        (["trainer=quick"], None),
        (["resume=outputs/x/y"], None),
        (["++resume=outputs/x/y"], None),
    ],
)  # fmt: skip
def test_the_quicker_command_drops_what_sets_the_length(monkeypatch, typed, shorter):
    monkeypatch.setattr(sys, "argv", ["train.py", *typed])
    assert quick_command() == shorter


def test_where_the_quick_trainer_is_long_as_well_its_batches_are_fewer(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py"])
    assert quicker(0.4) == "python train.py trainer=quick"  # 3 epochs of 200 batches: 4 min
    assert quicker(4.0) == "python train.py trainer=quick trainer.limit_train_batches=25"
    assert quicker(4000.0) == "python train.py trainer=quick trainer.limit_train_batches=1"


ESTIMATE = re.compile(
    r"^this run will take about (\d+) s on this machine \(an estimate: (\d+) more batches of "
    r"[\d,]+ ms\)$",
    re.MULTILINE,
)


@pytest.fixture
def timed(monkeypatch):
    """Two batches are timed, each as if it took ten seconds."""
    monkeypatch.setattr("minigpt.training.callbacks.progress.TIMED_BATCHES", 2)
    describe = time_estimate.describe
    monkeypatch.setattr(
        "minigpt.training.callbacks.progress.describe", lambda trainer, _: describe(trainer, 0.5)
    )


def test_a_run_prints_its_time_once_and_no_command_where_it_is_short(type_train, tiny, timed):
    out = type_train(*tiny, "trainer.limit_train_batches=8").out
    ((seconds, batches),) = ESTIMATE.findall(out)
    assert int(batches) == 2 * 8 - 3
    assert int(batches) * 0.5 < int(seconds) < int(batches)  # two validations of 2 batches as well
    assert "a quicker one" not in out


def test_neither_short_epochs_nor_validations_make_a_batch_seem_slow(type_train, tiny, monkeypatch):
    clock = SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)

    def takes(seconds, step):
        def wrapped(*args):
            clock.now += seconds
            return step(*args)

        return wrapped

    monkeypatch.setattr("minigpt.training.callbacks.progress.time", clock)
    monkeypatch.setattr(LitGPT, "training_step", takes(0.25, LitGPT.training_step))
    monkeypatch.setattr(LitGPT, "validation_step", takes(1000.0, LitGPT.validation_step))
    out = type_train(*tiny, "trainer.limit_train_batches=3", "trainer.max_epochs=20").out
    ((_, batches),) = ESTIMATE.findall(out)
    assert int(batches) == 60 - 18  # 12 are timed, two an epoch: together 3 seconds
    assert f"{batches} more batches of 250 ms" in out


@pytest.mark.parametrize(
    ("length", "left"),
    [(["trainer.max_steps=5"], 2), (["budget.tokens=1280"], 6),  # validates after the second
     (["trainer.max_steps=5", "trainer.accumulate_grad_batches=2"], 8)],
)  # fmt: skip
def test_every_way_to_set_the_length_counts(type_train, tiny, timed, length, left):
    ((_, batches),) = ESTIMATE.findall(type_train(*tiny, *length).out)
    assert int(batches) == left


def test_a_time_limit_ends_the_estimate_too(type_train, tiny, timed):
    limit = ["trainer.max_epochs=4", "+trainer.max_time={seconds: 5}"]
    ((seconds, batches),) = ESTIMATE.findall(type_train(*tiny, *limit).out)
    assert int(seconds) <= 5 < 0.5 * int(batches)


def test_a_long_run_offers_a_quicker_command(type_train, tiny, timed, monkeypatch):
    monkeypatch.setattr(time_estimate, "LONG", 5.0)
    out = type_train(*tiny).out
    (command,) = re.findall("^a quicker one: (.+)$", out, re.MULTILINE)
    assert command.startswith("python train.py data=files ")
    assert command.endswith(" trainer.accelerator=cpu trainer=quick trainer.limit_train_batches=1")
    assert "max_epochs" not in command
