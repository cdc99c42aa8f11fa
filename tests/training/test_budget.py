"""A budget is the same for every run, whatever its batch size or width."""

import math

import pytest

from minigpt.config import build, compose_config
from minigpt.errors import UserError
from minigpt.model.gpt import GPTConfig, training_flops_per_token
from minigpt.training.budget import BudgetConfig, budget_steps

BASE = build(GPTConfig, "model", compose_config(["model=base"]).model)
WIDE = build(GPTConfig, "model", compose_config(["model=wide"]).model)


def test_tokens_are_spent_whatever_the_batch():
    budget = BudgetConfig(tokens=1_032_192, flops=None, validations=4)
    assert budget_steps(budget, BASE, blocks_per_step=32) == 252
    assert budget_steps(budget, BASE, blocks_per_step=16) == 504
    assert budget_steps(budget, WIDE, blocks_per_step=16) == 504
    assert budget_steps(budget, WIDE, blocks_per_step=17) == 476  # 474.4, to a multiple of 4


def test_operations_are_spent_whatever_the_width():
    budget = BudgetConfig(tokens=None, flops=1e13, validations=1)
    for model, batch in ((BASE, 32), (WIDE, 16)):
        steps = budget_steps(budget, model, batch)
        spent = steps * batch * model.block_size * training_flops_per_token(model)
        assert spent == pytest.approx(1e13, rel=0.01)


def test_without_a_budget_epochs_decide():
    assert budget_steps(BudgetConfig(None, None, 4), BASE, 32) is None


def test_the_least_budget_is_a_step_for_each_validation():
    assert budget_steps(BudgetConfig(1, None, 3), BASE, 32) == 3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((0, None, 4), "budget.tokens must be above 0, got 0"),
        ((None, -1.0, 4), "budget.flops must be above 0"),
        ((1, 1, 4), "budget.tokens and budget.flops are both set; one has to decide"),
        ((1, None, 0), "budget.validations must be above 0"),
        ((math.inf, None, 4), "budget.tokens must be a finite number"),
        (("1M", None, 4), "budget.tokens must be float or null, got '1M'"),
    ],
)
def test_a_wrong_budget_is_refused_by_key(values, message):
    with pytest.raises(UserError, match=message):
        BudgetConfig(*values)
