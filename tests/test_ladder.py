"""The prepared ladder: sizes, lengths and rates that suit each other, and any text."""

import json

import pytest
from omegaconf import OmegaConf

from minigpt.config import CONF, build, compose_config
from minigpt.model.gpt import GPTConfig, training_flops_per_token

RUNGS = sorted(path.stem for path in (CONF / "ladder").glob("*.yaml"))


def composed(rung, *overrides):
    return compose_config(["+sweep=ladder", f"+ladder={rung}", *overrides])


def test_a_ladder_has_more_sizes_and_lengths_than_a_law_needs():
    params = OmegaConf.load(CONF / "sweep" / "ladder.yaml").hydra.sweeper.params
    swept = params["+ladder"].split(",")
    assert set(swept) < set(RUNGS)
    assert len(set(swept)) >= 4
    assert len(params["budget.tokens"].split(",")) >= 3


@pytest.mark.parametrize("rung", RUNGS)
def test_each_size_has_its_learning_rate(rung):
    cfg = composed(rung)
    assert cfg.optimizer.lr * cfg.model.n_embd == pytest.approx(0.128, rel=0.01)
    assert rung == f"width_{cfg.model.n_embd}"
    assert (cfg.scheduler.name, cfg.scheduler.min_ratio) == ("warmup_cosine", 0.0)


def test_the_ladder_is_affordable():
    """4e13 operations are eleven minutes of two CPU cores at 60 billion a second."""
    params = OmegaConf.load(CONF / "sweep" / "ladder.yaml").hydra.sweeper.params
    tokens = sum(map(float, params["budget.tokens"].split(",")))
    total = 0.0
    for rung in params["+ladder"].split(","):
        model = composed(rung).model
        model.vocab_size = 222  # characters of the standard library
        total += training_flops_per_token(build(GPTConfig, "model", model)) * tokens
    assert 2e13 < total < 4e13


def test_a_ladder_of_other_text_is_trained_to_the_end_of_each_budget(tiny, type_train, tmp_path):
    typed = type_train(
        "+sweep=ladder", *tiny, "+ladder=width_32", "budget.tokens=256,512",
        "hydra.sweep.dir=sweep", "scheduler.warmup_steps=1",
    )  # fmt: skip
    assert (typed.code, typed.err) == (0, "")
    for tokens in (256, 512):
        (summary,) = (tmp_path / "sweep").glob(f"*tokens={tokens}/summary.json")
        content = json.loads(summary.read_text())
        assert content["tokens_seen"] == tokens
        assert content["epochs"][-1]["val_loss"] is not None
        assert content["data"]["source"] == "files"
        lines = (summary.parent / "metrics.csv").read_text().splitlines()
        rates = [float(line.split(",")[4]) for line in lines[1:] if line.split(",")[4]]
        assert rates[-1] == 0.0
