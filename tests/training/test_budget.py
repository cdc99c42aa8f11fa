"""A budget is the same for every run, whatever its batch size or width."""

import math

import pytest

from minigpt.config import build, compose_config
from minigpt.errors import UserError
from minigpt.model.gpt import GPTConfig, training_flops_per_token
from minigpt.runs.metrics import read_metrics
from minigpt.runs.run_folder import RunFolder
from minigpt.training.budget import BudgetConfig, EpochTokens, budget_tokens, steps_for
from minigpt.training.callbacks.budget_validations import validation_steps

BASE = build(GPTConfig, "model", compose_config(["model=base"]).model)
WIDE = build(GPTConfig, "model", compose_config(["model=wide"]).model)


def test_a_budget_is_a_number_of_tokens_whatever_the_width():
    assert budget_tokens(BudgetConfig(None, None, 4), BASE) is None
    assert budget_tokens(BudgetConfig(2048, None, 4), BASE) == 2048
    for model in (BASE, WIDE):
        tokens = budget_tokens(BudgetConfig(None, 1e13, 1), model)
        assert tokens * training_flops_per_token(model) == pytest.approx(1e13)


# 293 blocks of 64 tokens and one target fewer in the last: 2 steps of 128 and one of 37 blocks.
LARGE = EpochTokens(steps=3, per_step=128 * 64, whole_epoch=293 * 64 - 1)
LARGER = EpochTokens(steps=2, per_step=256 * 64, whole_epoch=293 * 64 - 1)


def test_the_short_last_batch_of_each_epoch_is_counted():
    assert [LARGE.after(steps) for steps in range(5)] == [0, 8192, 16384, 18751, 26943]


@pytest.mark.parametrize(
    ("epoch", "tokens", "steps"),
    [
        (LARGE, 50_000, 8),  # 2 epochs of 18,751 and 1 or 2 steps of 8,192: 53,886, not 45,694
        (LARGER, 50_000, 5),  # 53,886 after 5 steps, 37,502 after 4
        (LARGE, 18_751, 3),
        (LARGE, 37_502, 6),
        (LARGE, 17_000, 2),
        (LARGE, 18_000, 3),
        (LARGE, 1, 1),
        (LARGE, 8192 * 1.4, 1),
    ],
)
def test_the_steps_come_as_near_to_the_budget_as_whole_steps_can(epoch, tokens, steps):
    assert steps_for(tokens, epoch) == steps
    nearest = min(range(1, 20), key=lambda other: abs(epoch.after(other) - tokens))
    assert steps == nearest


def test_validations_are_spread_out_and_the_last_is_on_the_last_step():
    assert sorted(validation_steps(8, 4)) == [2, 4, 6, 8]
    assert sorted(validation_steps(10, 4)) == [2, 5, 8, 10]
    assert sorted(validation_steps(2, 4)) == [1, 2]
    assert sorted(validation_steps(7, 1)) == [7]


@pytest.mark.parametrize(
    ("batch_size", "more", "steps"),
    [
        (16, (), 15),  # 19 an epoch
        (128, (), 2),  # 3 an epoch
        (128, ("trainer.limit_train_batches=1",), 2),
        (64, ("data.stride=4",), 4),
        (16, ("data.shuffle=false", "budget.validations=3"), 15),
    ],
)
def test_a_run_spends_its_budget_to_within_a_batch(
    tiny, type_train, tmp_path, batch_size, more, steps
):
    typed = type_train(*tiny, f"data.batch_size={batch_size}", "budget.tokens=1900", *more,
                       "hydra.run.dir=run")  # fmt: skip
    assert typed.code == 0, typed.err
    summary = RunFolder(tmp_path / "run").read_summary()
    assert summary.steps == steps
    assert abs(summary.tokens_seen - 1900) <= batch_size * 8
    validated = [row["step"] for row in read_metrics(RunFolder(tmp_path / "run").metrics)
                 if "val/loss" in row]  # fmt: skip
    validations = 3 if "budget.validations=3" in more else 4
    assert validated == sorted(validation_steps(steps, validations))


def test_over_several_epochs_the_short_last_batches_do_not_add_up(tiny, type_train, tmp_path):
    typed = type_train(*tiny, "data.batch_size=256", "budget.tokens=20000", "hydra.run.dir=run")
    assert typed.code == 0, typed.err
    summary = RunFolder(tmp_path / "run").read_summary()
    assert abs(summary.tokens_seen - 20_000) <= 256 * 8
    assert summary.steps > 20_000 / (256 * 8) + 1


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "trainer.max_steps=20",
            "budget.tokens and trainer.max_steps=20 both set the length of the run; leave one out "
            "(trainer.max_steps=-1 or budget.tokens=null)",
        ),
        (
            "trainer.accumulate_grad_batches=2",
            "budget.tokens and trainer.accumulate_grad_batches above 1 do not go together; raise "
            "data.batch_size or lower it, or set trainer.max_epochs instead of the budget",
        ),
    ],
)
def test_what_a_budget_does_not_go_with_is_refused(tiny, type_train, override, message):
    typed = type_train(*tiny, "budget.tokens=1000", override)
    assert (typed.code, typed.err) == (2, f"error: {message}\n")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((0, None, 4), "budget.tokens must be above 0, got 0"),
        ((None, -1.0, 4), "budget.flops must be above 0"),
        ((1, 1, 4), "budget.tokens and budget.flops are both set; leave one out"),
        ((1, None, 0), "budget.validations must be above 0"),
        ((math.inf, None, 4), "budget.tokens must be a finite number"),
        (("1M", None, 4), "budget.tokens must be float or null, got '1M'"),
    ],
)
def test_a_wrong_budget_is_refused_by_key(values, message):
    with pytest.raises(UserError, match=message):
        BudgetConfig(*values)
