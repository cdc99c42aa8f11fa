"""The average of the weights is what is validated, tested and saved; the raw weights train on."""

import pytest
import torch

from minigpt.errors import UserError
from minigpt.runs.checkpoints import RAW_WEIGHTS, read_checkpoint
from minigpt.training.callbacks import samples
from minigpt.training.callbacks.weight_average import WeightAverage, average_decay
from minigpt.training.lit_gpt import LitGPT
from tests.test_train import same_weights, summary, weights

AVERAGE = ["callbacks=weight_average", "callbacks.weight_average.decay=0.8",
           "scheduler=none", "trainer.max_epochs=1", "optimizer.lr=1e-2"]  # fmt: skip


def test_the_average_forgets_the_first_weights_soon():
    assert average_decay(0.999, 1) == pytest.approx(2 / 11)
    assert average_decay(0.999, 89) == pytest.approx(90 / 99)
    assert average_decay(0.999, 10**6) == 0.999
    assert average_decay(0.5, 100) == 0.5


@pytest.mark.parametrize(("tied", "accumulate"), [("true", 1), ("false", 2)])
def test_every_reader_of_the_weights_gets_the_average(
    tiny, type_train, tmp_path, monkeypatch, tied, accumulate
):
    arguments = [*tiny, *AVERAGE, f"model.tie_weights={tied}",
                 f"trainer.accumulate_grad_batches={accumulate}"]  # fmt: skip
    raw, validated, sampled = [], [], []

    def recording(function, record):
        def wrapped(first, *rest):
            net = getattr(first, "net", first)
            record.append(net.head.weight.detach().clone())
            return function(first, *rest)

        return wrapped

    for name, record in (("training_step", raw), ("validation_step", validated)):
        monkeypatch.setattr(LitGPT, name, recording(getattr(LitGPT, name), record))
    monkeypatch.setattr(samples, "generate", recording(samples.generate, sampled))
    assert type_train(*arguments, "hydra.run.dir=run").code == 0
    last = read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")
    assert last["state_dict"].keys() == last[RAW_WEIGHTS].keys()
    # The raw weights before each step, and after the last one.
    history = [*raw[::accumulate], last[RAW_WEIGHTS]["net.head.weight"]]
    average = history[0]
    for step, now in enumerate(history[1:], start=1):
        decay = min(0.8, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * now
    torch.testing.assert_close(last["state_dict"]["net.head.weight"], average)
    assert not torch.allclose(average, history[-1], atol=1e-3)
    saved = last["state_dict"]["net.head.weight"]
    assert all(torch.equal(weight, saved) for weight in [*validated, *sampled])
    assert len(validated) > 1
    assert len(sampled) == 1
    assert same_weights(weights(tmp_path / "run", "best"), weights(tmp_path / "run"))
    if tied == "true":
        assert torch.equal(saved, last["state_dict"]["net.wte.weight"])


def test_training_itself_does_not_change(tiny, type_train, tmp_path):
    assert type_train(*tiny, *AVERAGE, "hydra.run.dir=averaged").code == 0
    plain = [word for word in AVERAGE if not word.startswith("callbacks")]
    assert type_train(*tiny, *plain, "hydra.run.dir=plain").code == 0
    averaged = read_checkpoint(tmp_path / "averaged/checkpoints/last.ckpt")
    assert same_weights(averaged[RAW_WEIGHTS], weights(tmp_path / "plain"))
    assert RAW_WEIGHTS not in read_checkpoint(tmp_path / "plain/checkpoints/last.ckpt")
    assert summary(tmp_path / "averaged")["best"] != summary(tmp_path / "plain")["best"]


def test_an_average_can_begin_in_a_resumed_run(tiny, type_train, tmp_path):
    plain = [word for word in AVERAGE if not word.startswith("callbacks")]
    assert type_train(*tiny, *plain, "hydra.run.dir=run").code == 0
    before = weights(tmp_path / "run")
    target = "minigpt.training.callbacks.weight_average.WeightAverage"
    typed = type_train(
        "resume=run", "trainer.max_epochs=2", f"+callbacks.weight_average._target_={target}",
        "+callbacks.weight_average.decay=0.999999",
    )  # fmt: skip
    assert typed.code == 0, typed.err
    last = read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")
    key = "net.head.weight"
    moved, average = (
        (last[name][key] - before[key]).norm() for name in (RAW_WEIGHTS, "state_dict")
    )
    assert 0 < average < moved


@pytest.mark.parametrize("decay", [0.0, 1.0, 2.0])
def test_a_decay_outside_its_range_is_refused(decay):
    with pytest.raises(UserError, match="callbacks.weight_average.decay must lie between 0 and 1"):
        WeightAverage(decay)


def test_weights_too_coarse_for_an_average_are_refused(tiny, type_train):
    typed = type_train(*tiny, *AVERAGE, "trainer.precision=bf16-true")
    assert (typed.code, typed.err) == (
        2,
        "error: callbacks.weight_average needs weights in float32, in which small steps are not "
        "lost; trainer.precision=bf16-true has none\n",
    )


@pytest.mark.parametrize("decay", [0, 1, 1.5, "abc", None])
def test_a_decay_that_is_no_share_is_refused_by_its_key(decay):
    with pytest.raises(UserError, match="weight_average.decay must lie between 0 and 1, got "):
        WeightAverage(decay)
