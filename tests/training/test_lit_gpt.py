"""The training module: it loads from its checkpoint, and clips gradients as torch does."""

import dataclasses
import math

import pytest
import torch

from minigpt.training.lit_gpt import LitGPT
from minigpt.training.optimizer import OptimizerConfig
from minigpt.training.schedule import SchedulerConfig
from tests.model.test_gpt import SMALL


@pytest.fixture
def lit():
    torch.manual_seed(0)
    optimizer = OptimizerConfig(1e-3, [0.9, 0.99], 1e-8, 0.1, False, "all")
    scheduler = SchedulerConfig("none", 0, 0.0, 0.0)
    return LitGPT(SMALL, optimizer, scheduler, {"name": "char"}, {"stride": 4}, "dense", 0.0, 1)


@pytest.mark.parametrize("weights_only", [True, None])
def test_it_loads_from_the_checkpoint_of_a_run(tiny, type_train, tmp_path, weights_only):
    assert type_train(*tiny, "trainer.max_epochs=1", "hydra.run.dir=run").code == 0
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    saved = torch.load(path, weights_only=True)
    loaded = LitGPT.load_from_checkpoint(path, weights_only=weights_only)
    assert loaded.optimizer_config.lr == saved["hyper_parameters"]["optimizer"]["lr"]
    assert dataclasses.asdict(loaded.net.config) == saved["hyper_parameters"]["model"]
    assert dict(loaded.hparams) == saved["hyper_parameters"]
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, saved["state_dict"][name])


@pytest.mark.parametrize("algorithm", ["value", "norm", None])
def test_gradients_are_clipped_as_torch_clips_them(lit, monkeypatch, algorithm):
    monkeypatch.setattr(LitGPT, "trainer", property(lambda self: None))
    for parameter in lit.parameters():
        parameter.grad = torch.randn_like(parameter)
    expected = [parameter.grad.clone() for parameter in lit.parameters()]
    norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in expected))
    lit.configure_gradient_clipping(torch.optim.SGD(lit.parameters(), lr=0.3), 0.5, algorithm)
    assert float(lit.grad_norm) == pytest.approx(norm, rel=1e-5)  # before clipping
    assert lit.learning_rate == 0.3
    for parameter, before in zip(lit.parameters(), expected, strict=True):
        after = before.clamp(-0.5, 0.5) if algorithm == "value" else before * 0.5 / (norm + 1e-6)
        torch.testing.assert_close(parameter.grad, after)


def test_clipping_by_value_acts_in_a_run_and_an_unknown_way_is_refused(tiny, type_train, tmp_path):
    short = [*tiny, "trainer.max_epochs=1", "trainer.gradient_clip_val=0.01"]
    for algorithm in ("value", "norm"):
        typed = type_train(*short, f"trainer.gradient_clip_algorithm={algorithm}",
                           f"hydra.run.dir={algorithm}")  # fmt: skip
        assert typed.code == 0, typed.err
    weights = [
        torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for name in ("value", "norm")
    ]
    assert not torch.equal(weights[0]["net.head.weight"], weights[1]["net.head.weight"])
    typed = type_train(*short, "trainer.gradient_clip_algorithm=mean")
    assert typed.code == 2
    assert typed.err.startswith("error: trainer.gradient_clip_algorithm=mean")
    assert "value" in typed.err
    assert "norm" in typed.err
    assert typed.err.count("\n") == 1
