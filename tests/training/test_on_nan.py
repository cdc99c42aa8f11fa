"""A step whose loss or gradient is not finite stops a run, is skipped, or sends the run back."""

import json
import math

import pytest
import torch

from minigpt.errors import UserError
from minigpt.runs.run_folder import RunFolder
from minigpt.runs.summary import Status
from minigpt.training import lit_gpt
from minigpt.training.callbacks import finite_watch
from minigpt.training.lit_gpt import LitGPT
from tests.test_train import same_weights, summary, weights

RUN = ["trainer.max_epochs=2", "scheduler=none", "~callbacks.samples", "hydra.run.dir=run"]
EPOCH = 19  # steps


@pytest.fixture
def nan_at(monkeypatch):
    """Makes the loss of a step NaN, as often as it is computed or so many times."""

    def arrange(step, times=math.inf):
        loss, computed = LitGPT.loss, []

        def broken(self, batch, *smoothing):
            value = loss(self, batch, *smoothing)
            if self.training and self.global_step == step and len(computed) < times:
                computed.append(step)
                value = value * math.nan
            return value

        monkeypatch.setattr(LitGPT, "loss", broken)

    return arrange


def without_step(monkeypatch, number):
    """AdamW computes the gradients of its n-th step, and takes no step."""
    step, steps = torch.optim.AdamW.step, []

    def leaving_out(self, closure=None):
        steps.append(number)
        return closure() if len(steps) == number else step(self, closure)

    monkeypatch.setattr(torch.optim.AdamW, "step", leaving_out)


def test_a_step_that_is_not_taken_leaves_its_text(tiny, type_train, tmp_path, nan_at):
    nan_at(3)
    typed = type_train(*tiny, *RUN, "callbacks.last.minutes=1e-9")
    path = "run/steps_not_taken/step-3.json"
    assert typed.code == 2
    assert typed.err.endswith(f"; the text of that step is in {path}\n")
    assert summary(tmp_path / "run")["reason"].endswith(path)
    content = json.loads((tmp_path / path).read_text())
    assert (content["step"], content["epoch"], len(content["sequences"])) == (3, 1, 16)
    corpus = " ".join(file.read_text() for file in sorted((tmp_path / "corpus").iterdir()))
    sequence = content["sequences"][0]
    assert len(sequence["ids"]) == len(sequence["text"]) == 8
    assert any(each["text"] in corpus for each in content["sequences"])
    saved = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert saved["global_step"] == 3
    assert all(torch.isfinite(weight).all() for weight in saved["state_dict"].values())


def test_a_full_disk_does_not_hide_why_the_run_ended(tiny, type_train, monkeypatch, nan_at):
    def full(path, content):
        raise UserError(f"{path}: No space left on device")

    monkeypatch.setattr(finite_watch, "write_file", full)
    nan_at(3)
    typed = type_train(*tiny, *RUN)
    assert typed.code == 2
    assert typed.err.startswith("error: the loss is nan at step 3 (epoch 1), so training stopped")
    assert "steps_not_taken" not in typed.err


def test_a_skipped_step_changes_no_weight_and_is_told(
    tiny, type_train, tmp_path, monkeypatch, nan_at
):
    with monkeypatch.context() as patched:
        without_step(patched, 4)
        assert type_train(*tiny, *RUN[:-1], "hydra.run.dir=whole").code == 0
    nan_at(3)
    typed = type_train(*tiny, *RUN, "on_nan=skip")
    assert (typed.code, typed.err) == (
        0,
        "skipped step 3, whose loss or gradient is not finite; its text is in "
        "run/steps_not_taken/step-3.json\n",
    )
    assert same_weights(weights(tmp_path / "run"), weights(tmp_path / "whole"))
    ours, theirs = summary(tmp_path / "run"), summary(tmp_path / "whole")
    assert (ours["skipped_steps"], ours["steps"], ours["status"]) == (1, 38, "finished")
    assert ours["best"] == theirs["best"]
    assert theirs["tokens_seen"] - ours["tokens_seen"] == 16 * 8  # the loss leaves them out
    assert "numbers  1 of 38 steps skipped, whose loss or gradient was not" in typed.out
    assert RunFolder(tmp_path / "run").read_summary().outcome == "finished, 1 step skipped"


def test_a_comparison_says_which_runs_were_not_trained_as_configured(
    tiny, type_train, type_minigpt, tmp_path, nan_at
):
    nan_at(3)
    for number in (1, 2):
        folder = f"hydra.run.dir=runs/{number}"
        assert type_train(*tiny, *RUN[:-1], folder, f"seed={number}", "on_nan=skip").code == 0
    assert type_minigpt("compare", "runs").code == 0
    for page in ("report.md", "report.html"):
        text = (tmp_path / "runs" / page).read_text()
        assert text.count("finished, 1 step skipped") >= 4  # in the table and the findings
    assert "Not trained as configured, since numbers were not finite: " in text
    assert "largest gradient norm nan" not in text


def test_a_resumed_run_knows_how_many_steps_were_skipped(tiny, type_train, tmp_path, nan_at):
    nan_at(3)
    assert type_train(*tiny, *RUN, "on_nan=skip", "trainer.max_steps=25").code == 0
    assert type_train("resume=run", "trainer.max_steps=-1").code == 0
    assert summary(tmp_path / "run")["skipped_steps"] == 1


def test_ten_skipped_steps_in_a_row_stop_the_run(tiny, type_train, tmp_path):
    typed = type_train(*tiny, *RUN, "on_nan=skip", "optimizer.lr=1e38")
    assert typed.code == 2
    message = "error: 10 steps in a row were skipped, up to step 10, since a loss or gradient"
    assert typed.err.splitlines()[-1].startswith(message)
    assert summary(tmp_path / "run")["status"] == "diverged"
    assert not list((tmp_path / "run").glob("checkpoints/*"))


def test_a_rewound_run_goes_on_as_one_that_is_resumed_with_half_the_learning_rate(
    tiny, type_train, tmp_path, nan_at
):
    lr = ["optimizer.lr=0.002"]
    nan_at(25, times=1)
    assert type_train(*tiny, *RUN[:-1], *lr, "hydra.run.dir=by_hand").code == 2
    assert type_train("resume=by_hand", "optimizer.lr=0.001").code == 0
    nan_at(25, times=1)
    typed = type_train(*tiny, *RUN, *lr, "on_nan=rewind")
    assert typed.code == 0
    assert typed.err.startswith("the loss is nan at step 25 (epoch 2), so training stopped before")
    assert typed.err.endswith("; back to step 19 with learning rate 0.001\n")
    assert same_weights(weights(tmp_path / "run"), weights(tmp_path / "by_hand"))
    found = RunFolder(tmp_path / "run").read_summary()
    (rewind,) = found.rewinds
    assert (rewind.step, rewind.to_step, rewind.lr) == (25, 19, 0.001)
    assert found.outcome == "finished, rewound 1 time"
    assert "numbers  the loss is nan at step 25 (epoch 2): back to step 19 with" in typed.out


def test_a_resumed_run_keeps_the_learning_rate_that_a_rewind_left(
    tiny, type_train, tmp_path, nan_at
):
    nan_at(25, times=1)
    rewind = [*tiny, "on_nan=rewind", "optimizer.lr=0.002"]
    assert type_train(*rewind, *RUN[:-1], "hydra.run.dir=whole").code == 0
    nan_at(25, times=1)
    assert type_train(*rewind, *RUN, "trainer.max_steps=30").code == 0
    assert type_train("resume=run", "trainer.max_steps=-1").code == 0
    assert same_weights(weights(tmp_path / "run"), weights(tmp_path / "whole"))
    assert len(summary(tmp_path / "run")["rewinds"]) == 1


def test_a_run_goes_back_at_most_so_many_times(tiny, type_train, tmp_path, nan_at):
    nan_at(25)
    typed = type_train(*tiny, *RUN, "on_nan=rewind", "max_rewinds=2")
    assert typed.code == 2
    assert [line[:6] for line in typed.err.splitlines()] == ["the lo", "the lo", "error:"]
    assert typed.err.endswith("; that was after 2 rewinds (max_rewinds)\n")
    found = RunFolder(tmp_path / "run").read_summary()
    assert (found.status, len(found.rewinds)) == (Status.DIVERGED, 2)


def test_where_reading_a_scalar_syncs_no_step_with_a_bad_gradient_is_taken(
    tiny, type_train, tmp_path, monkeypatch, nan_at
):
    for module in (finite_watch, lit_gpt):
        monkeypatch.setattr(module, "scalar_read_syncs", lambda _: True)
    with monkeypatch.context() as patched:
        without_step(patched, 4)
        assert type_train(*tiny, *RUN[:-1], "hydra.run.dir=whole", "trainer.max_steps=5").code == 0
    seen = {}
    watch = finite_watch.FiniteWatch.on_exception

    def on_exception(self, trainer, lit, exception):
        seen.update({name: weight.clone() for name, weight in lit.state_dict().items()})
        watch(self, trainer, lit, exception)

    monkeypatch.setattr(finite_watch.FiniteWatch, "on_exception", on_exception)
    nan_at(3)
    typed = type_train(*tiny, *RUN, "trainer.log_every_n_steps=5")
    assert typed.err.startswith("error: the loss is nan at step 5")
    assert same_weights(seen, weights(tmp_path / "whole"))


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("on_nan=go_on", "on_nan=go_on is not one of stop, skip, rewind"),
        ("max_rewinds=0", "max_rewinds must be a whole number of at least 1, got 0"),
        ("max_rewinds=true", "max_rewinds must be a whole number of at least 1, got True"),
    ],
)
def test_a_bad_value_is_one_line(tiny, type_train, word, message):
    typed = type_train(*tiny, word)
    assert (typed.code, typed.err.count("\n")) == (2, 1)
    assert message in typed.err
