"""Muon, averaged weights and growing batches resume bit for bit, and count what they train on."""

import os
import signal

import pytest

from minigpt.runs.checkpoints import RAW_WEIGHTS, read_checkpoint
from minigpt.training.lit_gpt import LitGPT
from tests.test_resume import assert_same_run
from tests.test_train import DROPOUT, rows, same_weights, summary

RECIPE = [*DROPOUT, "optimizer=muon", "optimizer.lr=2e-3", "scheduler=linear_to_zero",
          "scheduler.warmup_steps=5", "callbacks=weight_average",
          "data.batch_warmup={start: 2, steps: 25}"]  # fmt: skip


@pytest.mark.parametrize("stop_at", [7, 30])  # among small batches; in the second epoch
def test_an_interrupted_run_resumes_bit_for_bit(tiny, type_train, tmp_path, monkeypatch, stop_at):
    arguments = [*tiny, *RECIPE]
    assert type_train(*arguments, "hydra.run.dir=whole").code == 0
    step = LitGPT.training_step

    def stopping(self, batch, batch_idx):
        if self.global_step == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(LitGPT, "training_step", stopping)
    assert type_train(*arguments, "hydra.run.dir=parts").code == 143
    monkeypatch.setattr(LitGPT, "training_step", step)
    assert type_train("resume=parts").code == 0
    parts, whole = tmp_path / "parts", tmp_path / "whole"
    assert_same_run(parts, whole)
    ours, theirs = (read_checkpoint(run / "checkpoints/last.ckpt") for run in (parts, whole))
    assert same_weights(ours[RAW_WEIGHTS], theirs[RAW_WEIGHTS])


def test_the_tokens_of_growing_batches_are_counted_and_schedules_know_the_steps(
    tiny, type_train, tmp_path
):
    assert type_train(*tiny, *RECIPE, "hydra.run.dir=run").code == 0
    assert summary(tmp_path / "run")["steps"] == 2 * summary(tmp_path / "run")["batches_per_epoch"]
    blocks = sum(2 + 14 * n // 25 for n in range(25)) + 16 * (38 - 25)
    # The text's last block is 7 targets short, and came once in each of two passes.
    assert summary(tmp_path / "run")["tokens_seen"] == blocks * 8 - 2 * 7
    rates = [row["lr"] for row in rows(tmp_path / "run") if "lr" in row]
    assert rates[4] == max(rates) == 2e-3
    assert (rates[0], rates[-1]) == (pytest.approx(4e-4), 0.0)


@pytest.mark.parametrize(("tokens", "steps"), [(1000, 19), (3000, 36)])
def test_a_budget_counts_growing_batches(tiny, type_train, tmp_path, tokens, steps):
    # 125 blocks in 19 steps; 206 in the 25 that grow, and 375 lie between 10 and 11 steps more.
    typed = type_train(*tiny, *RECIPE, f"budget.tokens={tokens}", "hydra.run.dir=run")
    assert typed.code == 0, typed.err
    assert summary(tmp_path / "run")["steps"] == steps
    assert abs(summary(tmp_path / "run")["tokens_seen"] - tokens) <= 16 * 8


def test_growing_batches_are_not_accumulated(tiny, type_train):
    typed = type_train(*tiny, *RECIPE, "trainer.accumulate_grad_batches=2")
    assert (typed.code, typed.err) == (
        2,
        "error: data.batch_warmup and trainer.accumulate_grad_batches above 1 do not go together: "
        "the batches of a step would differ in size; raise data.batch_size instead\n",
    )


def test_what_a_resume_keeps_is_refused_by_name(tiny, type_train, tmp_path):
    assert type_train(*tiny, *RECIPE, "trainer.max_epochs=1", "hydra.run.dir=run").code == 0
    for change, before in {
        "data.batch_warmup.steps=9": "data.batch_warmup={'start': 2, 'steps': 25}",
        "optimizer.head_lr_ratio=0.5": "optimizer.head_lr_ratio=1.0",
        "optimizer.name=adamw": "optimizer.name=muon",
    }.items():
        typed = type_train("resume=run", "trainer.max_epochs=2", change)
        assert typed.code == 2
        assert typed.err.startswith(f"error: resume: the checkpoint has {before}, this run asks ")
        assert typed.err.count("\n") == 1
