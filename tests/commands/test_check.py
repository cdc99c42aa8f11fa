"""The plan is exact, and is that of the run."""

import json

import pytest

from tests.conftest import run_folders


@pytest.mark.parametrize(
    ("preset", "parameters", "vocab_size"),
    [
        ("mini", 6_479_053, 49_805),
        ("base", 13_278_976, 50_257),
        ("wide", 27_344_384, 50_257),
        ("gpt2", 124_439_808, 50_257),
    ],
)
def test_check_prints_the_published_counts(preset, parameters, vocab_size, type_minigpt):
    typed = type_minigpt("check", f"model={preset}", "--json")
    found = json.loads(typed.out)
    assert (found["parameters"], found["vocab_size"]) == (parameters, vocab_size)
    assert sum(found["parameters_by_part"].values()) == parameters
    if preset == "mini":
        assert (found["blocks"], found["batches_per_epoch"]) == (5_056, 1_264)
        assert found["total_steps"] == 12_640


@pytest.mark.parametrize(
    "limits",
    [
        [],
        ["trainer.accumulate_grad_batches=4"],
        ["trainer.limit_train_batches=3"],
        ["trainer.limit_train_batches=0.5", "trainer.accumulate_grad_batches=2"],
        ["trainer.max_steps=5"],
        ["trainer.max_epochs=-1", "trainer.max_steps=25"],
    ],
)
def test_a_run_takes_the_steps_that_check_promised(
    limits, tiny, type_minigpt, type_train, tmp_path
):
    promised = json.loads(type_minigpt("check", *tiny, *limits, "--json").out)
    assert type_train(*tiny, *limits).code == 0
    (folder,) = run_folders(tmp_path)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["steps"] == promised["total_steps"]
    assert summary["batches_per_epoch"] == promised["batches_per_epoch"]
    assert summary["parameters"] == promised["parameters"]


def test_check_says_it_in_words_too(type_minigpt):
    out = type_minigpt("check").out
    for text in ("6,479,053", "49,805", "5,056", "1,264", "data and model fit"):
        assert text in out


def test_check_estimates_the_step_that_the_configuration_describes(tiny, type_minigpt):
    def memory(*words):
        typed = type_minigpt("check", *tiny, "trainer.precision=32-true", "loss=float32", *words,
                             "--json")  # fmt: skip
        assert typed.code == 0, typed.err
        return json.loads(typed.out)["memory_bytes"]

    shape = ["model.n_embd=64", "model.n_layer=4", "model.vocab_size=5000"]
    least = memory(*shape)
    assert memory(*shape, "data.batch_size=32") > least
    assert memory(*shape, "loss=dense") != least
    assert memory(*shape, "callbacks=weight_average") > least
    assert memory(*shape, "optimizer=muon") < least
    ddp = memory(*shape, "trainer.devices=2")
    assert memory(*shape, "trainer.devices=2", "trainer.strategy=fsdp2") < ddp


LIMITS = {
    "trainer.val_check_interval=1000": "trainer.val_check_interval=1000 is beyond the ",
    "trainer.limit_train_batches=0.01": "trainer.limit_train_batches=0.01 of the ",
    "trainer.limit_val_batches=0.01": "trainer.limit_val_batches=0.01 of the ",
    "trainer.limit_test_batches=0.01": "trainer.limit_test_batches=0.01 of the ",
    "+trainer.check_val_every_n_epoch=3": "is beyond trainer.max_epochs=2; lower it",
    "callbacks=early_stopping trainer.limit_val_batches=0":
        "callbacks.early_stopping watches val/loss, but trainer.limit_val_batches=0 turns",
    "callbacks=early_stopping trainer.max_steps=2":
        "but the run ends after 2 batches and would first validate after ",
}  # fmt: skip


@pytest.mark.parametrize("words", LIMITS)
def test_a_limit_that_the_corpus_cannot_meet_is_one_line_everywhere(
    words, tiny, type_minigpt, type_train, tmp_path
):
    arguments = [*tiny, *words.split()]
    checked, trained = type_minigpt("check", *arguments), type_train(*arguments)
    swept = type_train("-m", *arguments, "seed=1,2", "hydra.sweep.dir=sweep")
    for typed in (checked, trained, swept):
        assert (typed.code, typed.out, typed.err.count("\n")) == (2, "", 1)
        assert LIMITS[words] in typed.err
    assert swept.err == checked.err.replace("error: ", "error: no job of this sweep can run: ")
    assert not (tmp_path / "sweep" / "0-seed=1").exists()


def test_validations_across_epochs_may_be_further_apart_than_an_epoch(tiny, type_minigpt):
    across = ["trainer.val_check_interval=30", "+trainer.check_val_every_n_epoch=null"]
    assert type_minigpt("check", *tiny, *across).code == 0


def test_a_check_runs_no_code_that_the_configuration_names(tiny, type_minigpt, tmp_path):
    (tmp_path / "planted.py").write_text("open('ran', 'w')\nclass Part: pass\n")
    typed = type_minigpt(
        "check", *tiny, "+callbacks.x._target_=planted.Part", "+logger.y._target_=os.mkdir",
        "+logger.y.path=made", "+callbacks.samples.extra={_target_: os.mkdir, path: made}",
    )  # fmt: skip
    assert (typed.code, typed.err) == (0, "")
    assert (
        "not checked, since it would run other code: callbacks.samples, callbacks.x, logger.y"
        in (typed.out)
    )
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "made").exists()


def test_a_check_knows_what_a_callback_of_ours_would_refuse(tiny, type_minigpt):
    typed = type_minigpt("check", *tiny, "callbacks.last.minutes=0")
    assert (typed.code, typed.err.count("\n")) == (2, 1)
    assert "callbacks.last.minutes must be above 0, got 0" in typed.err


def test_a_check_looks_for_the_compiler_that_a_run_would_need(tiny, type_minigpt, monkeypatch):
    monkeypatch.setenv("PATH", "")
    typed = type_minigpt("check", *tiny, "trainer.compile=true")
    assert (typed.code, typed.err) == (
        2,
        "error: trainer.compile=true needs a C++ compiler (g++ or clang++); none is found\n",
    )


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (
            "model.n_embd=1000000000000",
            "model.n_embd must be at most 1,000,000, got 1,000,000,000,",
        ),
        ("model.n_layer=1000000000", "model.n_layer must be at most 1,000, got 1,000,000,000"),
        ("model.n_embd=1000000", "the network has 12,000,0"),
        ("trainer.max_epochs=1e20", "trainer.max_epochs must be a whole number, got 1e+20"),
        ("budget.tokens=1e300", "budget.tokens asks for 1e+300 tokens; more than 1e+18 cannot be"),
        ("budget.flops=1e300", "budget.flops asks for "),
        ("seed=true", "seed must be a whole number from 0 to 2^63 - 1, got True"),
        ("data.num_workers=100000", "data.num_workers must be at most "),
        ("trainer.devices=1000", "trainer.devices=1000 processes are more than this machine's "),
    ],
)
def test_absurd_numbers_are_refused_before_anything_starts(
    tiny, type_train, tmp_path, word, message
):
    typed = type_train(*tiny, "model.n_head=1", word)
    assert typed.code == 2
    assert typed.err.startswith(f"error: {message}")
    assert typed.err.count("\n") == 1
    assert run_folders(tmp_path) == []
