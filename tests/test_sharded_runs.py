"""Whole runs of trainer.strategy=fsdp2: weights, gradients and moments divided over gloo."""

import shutil

import pytest
import torch

from minigpt.runs.checkpoints import RAW_WEIGHTS, read_checkpoint, shards_folder
from minigpt.runs.run_folder import RunFolder
from minigpt.runs.stored_model import read_model
from tests.conftest import run_folders
from tests.test_several_processes import (
    DROPOUT,
    EXACT,
    TWO,
    bounded,
    children,
    only,
    rows,
    summary,
)

SHARDED = [*TWO, "trainer.strategy=fsdp2"]
AVERAGE = "minigpt.training.callbacks.weight_average.WeightAverage"
__all__ = ["bounded", "children"]  # fixtures


def assert_same_run(ours, theirs):
    assert [row["step"] for row in rows(ours)] == [row["step"] for row in rows(theirs)]
    for row, expected in zip(rows(ours), rows(theirs), strict=True):
        for key in ("train/loss", "grad_norm"):
            assert float(row[key]) == pytest.approx(float(expected[key]), rel=1e-4)
    assert summary(ours)["tokens_seen"] == summary(theirs)["tokens_seen"]
    assert summary(ours)["test"]["loss"] == pytest.approx(summary(theirs)["test"]["loss"], rel=1e-4)
    last, expected = (read_checkpoint(RunFolder(run).last) for run in (ours, theirs))
    for part in {"state_dict", RAW_WEIGHTS} & expected.keys():
        for name, value in expected[part].items():
            torch.testing.assert_close(last[part][name], value, rtol=1e-3, atol=1e-3)


def test_divided_weights_train_as_one_process_does_also_after_a_resume(
    tiny, type_train, tmp_path, children
):
    # 293 blocks: in the third step of an epoch one process has a block and the other none.
    same = [*tiny, *EXACT, *DROPOUT, "scheduler=none", "data.batch_size=146",
            "trainer.max_epochs=4"]  # fmt: skip
    assert type_train(*same, "name=one").code == 0
    typed = type_train(*same, *SHARDED, "name=two", "trainer.max_steps=7")
    assert (typed.code, typed.err) == (0, "")
    one, two = (only(tmp_path / "outputs" / name) for name in ("one", "two"))
    shards = list((two / "checkpoints" / "last.shards").glob("*/*.distcp"))
    # Each process has written about a half.
    assert [shard.name for shard in sorted(shards)] == ["__0_0.distcp", "__1_0.distcp"]
    small, large = sorted(shard.stat().st_size for shard in shards)
    assert small > 0.7 * large
    typed = type_train(f"resume={two}", "trainer.max_steps=-1")
    assert (typed.code, typed.err) == (0, "")
    assert len(children) == 2
    assert_same_run(two, one)
    # What `minigpt export` writes, and generate and evaluate read.
    trained, expected = read_model(two), read_model(one)
    assert trained.weights.keys() == expected.weights.keys()
    assert trained.step == expected.step


def test_a_run_goes_on_with_its_weights_divided_or_not(tiny, type_train, tmp_path, children):
    arguments = [*tiny, *EXACT, "scheduler=none", "optimizer=muon", "data.batch_size=66",
                 "model.zero_init=true", "model.embedding_shortcuts=true",
                 f"+callbacks.average={{_target_: {AVERAGE}, decay: 0.9}}"]  # fmt: skip
    assert type_train(*arguments, "name=whole").code == 0
    assert type_train(*arguments, "name=parts", "trainer.max_steps=2").code == 0
    parts, whole = (only(tmp_path / "outputs" / name) for name in ("parts", "whole"))
    for devices, strategy, steps in (
        (2, "fsdp2", 4),
        (1, "auto", 5),
        (3, "fsdp2", 6),
        (1, "fsdp2", 8),
        (2, "ddp", -1),
    ):
        typed = type_train(f"resume={parts}", f"trainer.devices={devices}",
                           f"trainer.strategy={strategy}",
                           f"trainer.max_steps={steps}")  # fmt: skip
        assert (typed.code, typed.err) == (0, "")
        assert shards_folder(RunFolder(parts).last).exists() == (strategy == "fsdp2")
    assert_same_run(parts, whole)


def test_a_share_that_cannot_be_written_ends_the_run_in_one_line(
    tiny, type_train, tmp_path, children
):
    short = ["trainer.limit_train_batches=2", "trainer.max_epochs=1"]
    assert type_train(*tiny, *SHARDED, *short).code == 0
    (folder,) = run_folders(tmp_path)
    run = RunFolder(folder)
    shutil.rmtree(shards_folder(run.best))
    shards_folder(run.best).write_text("a file in the place of the folder")
    before = run.last.read_bytes()
    typed = type_train(f"resume={folder}", "trainer.max_epochs=2")
    assert typed.code == 2
    assert typed.err.startswith(f"error: cannot write {shards_folder(run.best)}/")
    assert typed.err.count("\n") == 1
    assert run.last.read_bytes() == before
    assert read_checkpoint(run.last)["global_step"] == 2
