"""A batch that does not fit into memory is computed in parts, and gives what the whole would."""

import csv
import json
import weakref
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from minigpt.runs.checkpoints import read_checkpoint
from minigpt.training.micro_batches import MicroBatches, loss_and_gradients

AUTO = "trainer.auto_accumulate=true"
# Averages of numbers that bfloat16 rounds differ by more than the order of a sum does.
EXACT = ["loss=dense", "trainer.precision=32-true", "scheduler=none"]
DROPOUT = ["model.dropout=0.2", "model.embd_dropout=0.2"]


def limit(rows, **more):
    keys = ", ".join(f"{key}: {value}" for key, value in {"rows": rows, **more}.items())
    return f"+callbacks.limit={{_target_: tests.named_callbacks.MemoryLimit, {keys}}}"


@pytest.fixture
def train(tiny, type_train, tmp_path):
    def run(name, *words):
        typed = type_train(*tiny, *EXACT, *DROPOUT, *words, f"hydra.run.dir={name}")
        assert typed.code == 0, typed.err
        return tmp_path / name, typed

    return run


def weights(folder):
    return read_checkpoint(folder / "checkpoints" / "last.ckpt")["state_dict"]


def losses(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["train/loss"]]
    return [(row["step"], row["train/loss"], row["grad_norm"]) for row in rows]


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def assert_same_bits(a, b):
    assert losses(a) == losses(b)
    assert all(torch.equal(weights(a)[name], value) for name, value in weights(b).items())


def assert_close(a, b):
    """The same steps to the rounding of sums in another order."""
    assert [row[0] for row in losses(a)] == [row[0] for row in losses(b)]
    for ours, theirs in zip(losses(a), losses(b), strict=True):
        assert [float(x) for x in ours] == pytest.approx([float(x) for x in theirs], rel=1e-5)
    for name, value in weights(b).items():
        torch.testing.assert_close(weights(a)[name], value, rtol=0, atol=1e-6)


@pytest.mark.parametrize("accumulated", [1, 2])
def test_where_memory_is_enough_a_run_has_the_same_bits(train, accumulated):
    more = [f"trainer.accumulate_grad_batches={accumulated}"]
    plain, _ = train("plain", *more)
    auto, typed = train("auto", *more, AUTO)
    assert_same_bits(auto, plain)
    assert (typed.err, summary(auto)["micro_batch"]) == ("", None)


@pytest.mark.parametrize("where", ["forward", "backward"])
@pytest.mark.parametrize("accumulated", [1, 2])
def test_a_batch_that_does_not_fit_is_computed_in_parts(train, where, accumulated):
    # With its usual eps Adam makes a step of full size from a gradient that is all rounding.
    more = [f"trainer.accumulate_grad_batches={accumulated}", "optimizer.eps=1e-2"]
    whole, _ = train("whole", *more)
    parts, typed = train("parts", *more, AUTO, limit(5, step=3, where=where))
    assert_close(parts, whole)
    # 16 sequences, then 8, then 4.
    lines = typed.err.splitlines()
    assert lines == [
        "out of memory at step 3: from here on a process computes 8 of a batch's sequences at a "
        f"time, as with data.batch_size=8 trainer.accumulate_grad_batches={2 * accumulated}",
        "out of memory at step 3: from here on a process computes 4 of a batch's sequences at a "
        f"time, as with data.batch_size=4 trainer.accumulate_grad_batches={4 * accumulated}",
    ]
    assert summary(parts)["micro_batch"] == 4
    assert summary(parts)["tokens_seen"] == summary(whole)["tokens_seen"]
    assert "ran out; since then a batch was computed 4 sequences at a time" in typed.out


def test_the_losses_are_those_of_the_accumulation_that_is_named(tiny, type_train, tmp_path):
    even = [*tiny, *EXACT, "optimizer.eps=1e-2", "model.dropout=0", "model.embd_dropout=0",
            "trainer.max_steps=12", "trainer.max_epochs=1"]  # fmt: skip
    asked = ["data.batch_size=8", "trainer.accumulate_grad_batches=2"]
    assert type_train(*even, *asked, "hydra.run.dir=asked").code == 0
    assert type_train(*even, AUTO, limit(8), "hydra.run.dir=parts").code == 0
    assert_close(tmp_path / "parts", tmp_path / "asked")


def test_a_resumed_run_keeps_the_parts_and_has_the_same_bits(train, type_train):
    parts, _ = train("parts", AUTO, limit(8, step=3))
    stopped, _ = train("stopped", AUTO, limit(8, step=3), "trainer.max_steps=7")
    # Nothing runs out of memory any more; the parts come from the checkpoint.
    words = ["trainer.max_steps=-1", "callbacks.limit.rows=16"]
    callback = "callbacks.limit._target_=tests.named_callbacks.MemoryLimit"
    typed = type_train("resume=stopped", *words, callback)
    assert (typed.code, typed.err) == (0, "")
    assert_same_bits(stopped, parts)
    assert summary(stopped)["micro_batch"] == 8


def test_a_run_that_meets_the_limit_at_a_step_is_one_that_is_resumed_there_in_parts(
    train, type_train
):
    parts, _ = train("parts", AUTO, limit(8, step=5))
    resumed, _ = train("resumed", AUTO, limit(16), "trainer.max_steps=5")
    callback = "callbacks.limit._target_=tests.named_callbacks.MemoryLimit"
    words = ["trainer.max_steps=-1", "callbacks.limit.rows=8", callback]
    assert type_train("resume=resumed", *words).code == 0
    assert_same_bits(resumed, parts)


def test_a_single_sequence_that_does_not_fit_is_one_line(tiny, type_train, tmp_path):
    typed = type_train(*tiny, AUTO, limit(0), "hydra.run.dir=run")
    assert typed.code == 2
    assert typed.err.splitlines()[-1] == (
        "error: trainer.auto_accumulate: memory runs out even with one sequence at a time; lower "
        "model.block_size, model.n_embd or model.n_layer"
    )
    assert len(typed.err.splitlines()) == 5  # 8, 4, 2, 1
    found = summary(tmp_path / "run")
    assert (found["status"], found["steps"]) == ("failed", 0)


def test_without_the_key_it_is_one_line_that_names_the_key(tiny, type_train, tmp_path):
    typed = type_train(*tiny, limit(8, step=3), "hydra.run.dir=run")
    assert typed.code == 2
    assert typed.err == (
        "error: the device is out of memory; trainer.auto_accumulate=true computes a batch in "
        "parts that fit, or use a smaller data.batch_size, data.eval_batch_size or model\n"
    )
    assert summary(tmp_path / "run")["status"] == "failed"


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("trainer.strategy=fsdp2", "a process out of memory would leave the others waiting"),
        ("trainer.compile=reduce-overhead", "CUDA graphs keep the memory of the batch"),
        ("trainer.precision=16-mixed", "float16 needs its loss scaled"),
        ("trainer.precision=16", "float16 needs its loss scaled"),
    ],
)
def test_what_does_not_go_with_it_is_refused(tiny, type_minigpt, word, reason):
    typed = type_minigpt("check", *tiny, AUTO, word)
    assert (typed.code, typed.err.count("\n")) == (2, 1)
    start = f"error: trainer.auto_accumulate=true does not go with {word}: {reason}"
    assert typed.err.startswith(start)


def test_what_a_failed_attempt_held_is_free_before_the_next(capfd):
    data = SimpleNamespace(config=SimpleNamespace(batch_size=8))
    trainer = SimpleNamespace(world_size=1, global_step=0, is_global_zero=True, datamodule=data,
                              accumulate_grad_batches=1)  # fmt: skip
    held, alive = [], []

    def attempt(rows):
        alive.append([tensor() is not None for tensor in held])
        activations = torch.ones(rows)
        held.append(weakref.ref(activations))
        if rows > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return rows

    assert MicroBatches().fitted(trainer, attempt, 8) == 2
    assert alive == [[], [False], [False, False]]


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 8])
def test_parts_of_any_size_add_up_to_the_gradients_of_the_mean_over_all_targets(rows):
    torch.manual_seed(0)
    x, weight = torch.randn(5, 4, 3), torch.randn(7, 3, requires_grad=True)
    targets = torch.randint(7, (5, 4))
    targets[1, 2:] = targets[3] = -100  # rows of 4, 2, 4, 0 and 4 targets
    expected = F.cross_entropy((x @ weight.T).flatten(0, 1), targets.flatten())
    (gradient,) = torch.autograd.grad(expected, weight)

    def loss_of(part):
        at = slice(part.start, part.stop)
        logits = (x[at] @ weight.T).flatten(0, 1)
        total = F.cross_entropy(logits, targets[at].flatten(), reduction="sum")
        return total / (targets[at] != -100).sum().clamp_min(1)

    loss, (sums,) = loss_and_gradients(loss_of, targets, [weight], rows)
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(sums, gradient)
    assert weight.grad is None
