"""The proof of exact resume holds where it should and fails where it should."""

import json

import pytest

from minigpt.commands.verify_resume import _differences
from minigpt.runs.run_folder import RunFolder

THREE_EPOCHS = ["--steps", "12"]


def test_a_configuration_is_shown_to_resume_bit_for_bit(tiny, type_minigpt, tmp_path):
    # One proof for all: a budget gives way to the short run, with dropout, a worker, steps of two
    # batches, two optimizers in one, an average of the weights, and a callback of the user's.
    typed = type_minigpt("verify-resume", *tiny, "model.dropout=0.2", "data.num_workers=1",
                         "trainer.accumulate_grad_batches=2", "budget.tokens=1e8",
                         "optimizer=muon", "callbacks=weight_average",
                         "+callbacks.mine._target_=lightning.pytorch.callbacks.LambdaCallback",
                         *THREE_EPOCHS, "--json")  # fmt: skip
    assert typed.code == 0
    assert typed.err.splitlines() == [
        "budget.tokens=100000000.0 is left out: --steps is the length of these runs",
        "12 steps undisturbed",
        "the same, stopped after step 2",
        "resumed, stopped after step 8",
        "resumed to the end",
    ]
    assert json.loads(typed.out) == {
        "steps": 12, "stopped_after": [2, 8], "rows": 12, "differences": [], "kept": None,
    }  # fmt: skip
    assert list((tmp_path / "outputs" / "verify-resume").iterdir()) == []


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_what_was_proved_is_said(type_minigpt, monkeypatch, as_json):
    proof = {"rows": 12, "differences": [], "kept": None}
    monkeypatch.setattr("minigpt.commands.verify_resume.verify_resume", lambda *_: proof)
    typed = type_minigpt("verify-resume", *as_json)
    assert (typed.code, typed.err) == (0, "")
    plain = "identical to the last bit: 12 rows of losses, learning rates and gradient norms, "
    assert json.loads(typed.out) == proof if as_json else typed.out.startswith(plain)
    proof.update(differences=["lr at step 3", "state_dict"], kept="outputs/x")
    typed = type_minigpt("verify-resume", *as_json)
    assert typed.code == 2
    assert typed.err.startswith("error: not the same: lr at step 3; state_dict; both runs are kept")
    assert (json.loads(typed.out) == proof) if as_json else (typed.out == "")


def test_runs_that_differ_are_told_apart(tiny, type_train, tmp_path):
    for name, seed in (("one", 1), ("two", 2), ("again", 1)):
        type_train(*tiny, f"seed={seed}", f"hydra.run.dir={name}", "trainer.max_epochs=1")
    one, two, again = (RunFolder(tmp_path / name) for name in ("one", "two", "again"))
    assert _differences(one, again) == []
    differences = _differences(one, two)
    assert " at step 1 is " in differences[0]
    assert differences[1:] == [
        "state_dict of the last checkpoint",
        "optimizer_states of the last checkpoint",
    ]


def test_a_run_that_cannot_start_says_why(tiny, type_minigpt):
    typed = type_minigpt("verify-resume", *tiny, "optimizer.lr=-1", *THREE_EPOCHS)
    assert typed.code == 2
    assert typed.err.startswith("error: optimizer.lr must be")
    assert typed.err.count("\n") == 1


@pytest.mark.parametrize("steps", ["0", "5"])
def test_too_few_steps_are_refused(tiny, type_minigpt, steps):
    typed = type_minigpt("verify-resume", *tiny, "--steps", steps)
    assert (typed.code, typed.err) == (
        2, f"error: --steps must be at least 6, two for each of 3 epochs, got {steps}\n"
    )  # fmt: skip


def test_a_text_too_short_for_the_stops_says_so(tiny, type_minigpt):
    typed = type_minigpt("verify-resume", *tiny, "data.batch_size=512", "--steps", "6")
    assert typed.code == 2
    assert typed.err.startswith("error: the run ended before its stop: an epoch of this text has ")
