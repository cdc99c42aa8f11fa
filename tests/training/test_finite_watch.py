"""A run that diverges says so, stops before it trains on or saves the damage, and fails."""

import math

import pytest
import torch

from minigpt.runs.run_folder import RunFolder
from minigpt.runs.summary import Status
from minigpt.training import lit_gpt
from minigpt.training.callbacks import finite_watch
from minigpt.training.finite import DivergedError, check_finite
from minigpt.training.lit_gpt import LitGPT


class Trainer:
    global_step = 7
    current_epoch = 1


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_an_error_that_says_where_and_what_to_try(value):
    with pytest.raises(DivergedError) as error:
        check_finite(Trainer(), value, "the loss", "training stopped")
    assert str(error.value) == (
        f"the loss is {value} at step 7 (epoch 2), so training stopped; try a lower optimizer.lr, "
        "a warm-up (scheduler=warmup_cosine) or a smaller trainer.gradient_clip_val"
    )
    check_finite(Trainer(), 1e300, "the loss", "training stopped")


def diverged(run, message):
    summary = RunFolder(run).read_summary()
    assert summary.status is Status.DIVERGED
    assert summary.reason.startswith(message)
    return summary


def all_finite(run):
    for path in run.glob("checkpoints/*.ckpt"):
        weights = torch.load(path, weights_only=True)["state_dict"]
        assert all(torch.isfinite(weight).all() for weight in weights.values()), path


def test_a_job_that_diverges_in_its_last_step_poisons_nothing_and_fails_its_sweep(
    tiny, type_train, tmp_path
):
    typed = type_train(
        "-m", *tiny, "~callbacks.samples", "trainer.limit_train_batches=1", "trainer.max_epochs=1",
        "optimizer.lr=1e-3,1e38", "hydra.sweep.dir=sweep",
    )  # fmt: skip
    assert typed.code == 1
    assert "job 1-lr=1e+38 failed: the held-out loss is nan at step 1" in typed.err
    assert "Nothing diverged" not in typed.out
    assert "Nothing diverged" not in (tmp_path / "sweep" / "report.md").read_text()
    good, bad = tmp_path / "sweep" / "0-lr=0.001", tmp_path / "sweep" / "1-lr=1e+38"
    assert RunFolder(good).read_summary().status is Status.FINISHED
    assert diverged(bad, "the held-out loss is nan at step 1").best is None
    assert not list(bad.glob("checkpoints/*"))
    all_finite(good)


def test_a_gradient_that_is_not_finite_stops_before_the_step(
    tiny, type_train, tmp_path, monkeypatch
):
    training_step = LitGPT.training_step

    def step(self, batch, batch_idx):
        output = training_step(self, batch, batch_idx)
        if self.global_step == 3:  # a finite loss with a gradient of NaN
            weight = self.net.head.weight
            output["loss"] = output["loss"] + (weight.square().sum() * 0).sqrt()
        return output

    monkeypatch.setattr(LitGPT, "training_step", step)
    typed = type_train(*tiny, "callbacks.last.minutes=1e-9", "hydra.run.dir=run")
    assert typed.code == 2
    message = "the gradient norm is nan at step 3 (epoch 1), so training stopped before that step"
    assert typed.err.startswith(f"error: {message}")
    assert diverged(tmp_path / "run", message).steps == 3
    all_finite(tmp_path / "run")


def test_weights_that_are_not_finite_are_never_saved(tiny, type_train, tmp_path, monkeypatch):
    # The optimizer's step leaves a NaN, and a checkpoint is due before the next loss is computed.
    step = torch.optim.AdamW.step

    def breaking(self, closure=None):
        loss = step(self, closure)
        self.param_groups[0]["params"][0].data[0, 0] = math.nan
        return loss

    monkeypatch.setattr(torch.optim.AdamW, "step", breaking)
    typed = type_train(*tiny, "callbacks.last.minutes=1e-9", "hydra.run.dir=run")
    assert typed.code == 2
    assert " is nan at step 1 (epoch 1), so nothing was saved" in typed.err
    assert typed.err.startswith("error: a weight of net.")
    diverged(tmp_path / "run", "a weight of net.")
    (before,) = (tmp_path / "run").glob("checkpoints/*")
    assert torch.load(before, weights_only=True)["global_step"] == 0
    all_finite(tmp_path / "run")


def test_where_reading_a_scalar_syncs_the_loss_is_checked_before_validation_and_saving(
    tiny, type_train, tmp_path, monkeypatch
):
    loss = LitGPT.loss

    def breaking(self, batch, *smoothing):
        broken = self.training and self.global_step >= 3
        return loss(self, batch, *smoothing) * (math.nan if broken else 1)

    monkeypatch.setattr(LitGPT, "loss", breaking)
    for module in (finite_watch, lit_gpt):
        monkeypatch.setattr(module, "scalar_read_syncs", lambda _: True)
    for name, more, consequence in [
        ("logged", ["trainer.log_every_n_steps=5"], "the loss is nan at step 5 (epoch 1), so "
         "training stopped"),
        ("validated", ["trainer.log_every_n_steps=1000"], "the loss since the last log is nan at "
         "step 19 (epoch 1), so nothing was validated"),
        ("saved", ["trainer.log_every_n_steps=1000", "trainer.limit_val_batches=0"],
         "the loss since the last log is nan at step 19 (epoch 1), so nothing was saved"),
    ]:  # fmt: skip
        typed = type_train(*tiny, *more, f"hydra.run.dir={name}")
        assert typed.code == 2
        assert typed.err.startswith(f"error: {consequence}")
        diverged(tmp_path / name, consequence)
    assert not list(tmp_path.rglob("*.ckpt"))
