"""A resumed run is the undisturbed one, bit for bit, however it was stopped."""

import os
import shutil
import signal
import subprocess
import sys
from collections import Counter

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from minigpt.config import plain
from minigpt.runs.checkpoints import read_checkpoint
from minigpt.runs.run_folder import RunFolder
from minigpt.training.lit_gpt import LitGPT
from tests.conftest import REPOSITORY, run_folders
from tests.test_train import DROPOUT, losses, rows, same_weights, summary, weights

CONSTANT = [*DROPOUT, "scheduler=none"]
EPOCH = 19  # batches of the tiny corpus


def assert_same_run(parts, whole):
    """All that two runs leave is the same, but for what they were called and how long they took."""
    assert losses(parts) == losses(whole)
    assert same_weights(weights(parts), weights(whole))
    for key in ("steps", "tokens_seen", "test", "best", "status"):
        assert summary(parts)[key] == summary(whole)[key], key
    if summary(whole)["best"]:
        assert same_weights(weights(parts, "best"), weights(whole, "best"))
    ours, theirs = (
        [{**epoch, "seconds": 0} for epoch in summary(folder)["epochs"]]
        for folder in (parts, whole)
    )
    assert ours == theirs
    # A run that ended earlier was tested then; the test at the end is compared above.
    left_out = {"tokens_per_second", "test/loss", "test/perplexity", "test/bits_per_byte"}
    ours, theirs = (
        [{key: row[key] for key in row.keys() - left_out} for row in rows(folder)]
        for folder in (parts, whole)
    )
    assert ours == theirs


def killed_train(tmp_path, step, *arguments):
    """Runs train.py in a process that kills itself before the step that follows `step` others."""
    code = (
        "import os, signal\n"
        "from minigpt.commands.train import main\n"
        "from minigpt.training.lit_gpt import LitGPT\n"
        "training_step = LitGPT.training_step\n"
        "def killed(self, batch, i):\n"
        f"    if self.global_step == {step}: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return training_step(self, batch, i)\n"
        "LitGPT.training_step = killed\n"
        "main()\n"
    )
    done = start_python(tmp_path, "-c", code, *arguments)
    assert done.returncode == -signal.SIGKILL, done.stderr


def train_alone(tmp_path, *arguments):
    done = start_python(tmp_path, "-m", "minigpt.commands.train", *arguments)
    assert done.returncode == 0, done.stderr


def start_python(tmp_path, *arguments):
    return subprocess.run(
        [sys.executable, *arguments], cwd=tmp_path, capture_output=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "stop_at", "accumulate", "workers"),
    [
        ("SIGTERM", 1, 1, 0),
        ("SIGTERM", 18, 1, 0),  # the last batch of the first epoch, before its validation
        ("SIGTERM", 19, 1, 0),
        ("SIGINT", 25, 1, 0),
        ("SIGTERM", 7, 1, 2),
        ("SIGTERM", 2, 4, 0),  # a signal in the middle of an accumulated step
    ],
)
def test_an_interrupted_run_resumes_bit_for_bit(
    tiny, type_train, tmp_path, monkeypatch, name, stop_at, accumulate, workers
):
    arguments = [*tiny, *DROPOUT, "scheduler=warmup_cosine", "scheduler.warmup_steps=5"]
    arguments.append(f"data.num_workers={workers}")
    arguments.append(f"trainer.accumulate_grad_batches={accumulate}")
    type_train(*arguments, "name=whole")
    (whole,) = run_folders(tmp_path)
    assert summary(whole)["batches_per_epoch"] == 19  # so that 18 is an epoch's last

    step = LitGPT.training_step

    def stopping(self, batch, batch_idx):
        if self.global_step == stop_at and batch_idx % accumulate == accumulate // 2:
            os.kill(os.getpid(), getattr(signal, name))
        return step(self, batch, batch_idx)

    monkeypatch.setattr(LitGPT, "training_step", stopping)
    typed = type_train(*arguments, "name=parts")
    monkeypatch.setattr(LitGPT, "training_step", step)
    assert typed.code == {"SIGTERM": 143, "SIGINT": 130}[name]
    (parts,) = (tmp_path / "outputs" / "parts").iterdir()
    assert f"continue with: python train.py resume={parts.relative_to(tmp_path)}" in typed.err
    assert summary(parts)["status"] == "interrupted"
    assert summary(parts)["steps"] == stop_at + 1

    assert type_train(f"resume={parts}").code == 0
    assert losses(parts) == losses(whole)
    assert same_weights(weights(parts), weights(whole))
    assert same_weights(weights(parts, "best"), weights(whole, "best"))
    for key in ("steps", "tokens_seen", "test", "best", "status"):
        assert summary(parts)[key] == summary(whole)[key]
    for ours, theirs in zip(summary(parts)["epochs"], summary(whole)["epochs"], strict=True):
        assert {**ours, "seconds": 0} == {**theirs, "seconds": 0}


def test_a_run_whose_last_checkpoint_is_damaged_goes_on_from_the_best_bit_for_bit(
    tiny, type_train, tmp_path
):
    arguments = [*tiny, *CONSTANT, "trainer.val_check_interval=0.5"]
    assert type_train(*arguments, "hydra.run.dir=whole").code == 0
    assert type_train(*arguments, "hydra.run.dir=parts", "trainer.max_steps=30").code == 0
    last, best = (tmp_path / "parts" / "checkpoints" / f"{name}.ckpt" for name in ("last", "best"))
    assert read_checkpoint(best)["global_step"] == 28  # the last validation, in mid-epoch
    last.write_bytes(last.read_bytes()[:-5000])
    typed = type_train("resume=parts", "trainer.max_steps=-1")
    assert (typed.code, typed.err) == (
        0,
        f"{last} is not a readable checkpoint (BadZipFile); it is damaged or another kind of file; "
        "the run goes on from best.ckpt\n",
    )
    assert_same_run(tmp_path / "parts", tmp_path / "whole")


def test_the_best_checkpoint_of_an_epochs_last_validation_has_that_epoch_in_its_record(
    tiny, type_train, tmp_path
):
    assert type_train(*tiny, "trainer.max_epochs=1", "hydra.run.dir=run").code == 0
    best = read_checkpoint(tmp_path / "run" / "checkpoints" / "best.ckpt")
    assert best["global_step"] == EPOCH
    assert [epoch["step"] for epoch in best["callbacks"]["RunSummary"]["epochs"]] == [EPOCH]


def test_a_finished_run_can_be_taken_further(tiny, type_train, tmp_path):
    constant = [*tiny, *DROPOUT, "scheduler=none"]
    type_train(*constant, "name=whole", "trainer.max_epochs=3")
    type_train(*constant, "name=parts", "trainer.max_epochs=1")
    (parts,) = (tmp_path / "outputs" / "parts").iterdir()
    assert type_train(f"resume={parts}", "trainer.max_epochs=3").code == 0
    (whole,) = (tmp_path / "outputs" / "whole").iterdir()
    assert same_weights(weights(parts), weights(whole))
    assert losses(parts) == losses(whole)
    assert len(list((tmp_path / "outputs" / "parts").iterdir())) == 1  # no new folder


def test_a_resume_that_would_not_be_exact_is_refused_and_changes_nothing(
    tiny, type_train, tmp_path, corpus
):
    type_train(*tiny, "trainer.max_epochs=1")
    (folder,) = run_folders(tmp_path)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    for change, message in {
        "model.n_embd=32": "resume: the checkpoint has model.n_embd=16, this run asks for 32",
        "data.batch_size=8": "resume: the checkpoint has data.batch_size=16, this run asks for 8",
        "seed=7": "resume: the checkpoint has seed=1, this run asks for 7",
    }.items():
        typed = type_train(f"resume={folder}", change, "trainer.max_epochs=2")
        assert typed.code == 2
        assert typed.err.startswith(f"error: {message}")
        assert typed.err.count("\n") == 1
    (corpus / "00.txt").write_text("other words")
    typed = type_train(f"resume={folder}", "trainer.max_epochs=2")
    assert typed.err.startswith("error: resume: the checkpoint has ")
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


@pytest.mark.parametrize("cut", [4, EPOCH, EPOCH + 1])
def test_a_run_cut_short_by_max_steps_goes_on_bit_for_bit(tiny, type_train, tmp_path, cut):
    endless = [*tiny, *CONSTANT, "trainer.max_epochs=-1"]
    assert type_train(*endless, "trainer.max_steps=43", "hydra.run.dir=whole").code == 0
    assert type_train(*endless, f"trainer.max_steps={cut}", "hydra.run.dir=parts").code == 0
    assert [epoch["step"] for epoch in summary(tmp_path / "parts")["epochs"]][-1] == cut
    assert (
        type_train(
            "resume=parts", "trainer.max_steps=14" if cut == 4 else "trainer.max_steps=30"
        ).code
        == 0
    )
    assert type_train("resume=parts", "trainer.max_steps=43").code == 0
    assert [epoch["epoch"] for epoch in summary(tmp_path / "parts")["epochs"]] == [1, 2, 3]
    assert [epoch["step"] for epoch in summary(tmp_path / "parts")["epochs"]] == [19, 38, 43]
    assert_same_run(tmp_path / "parts", tmp_path / "whole")


def test_a_run_cut_short_by_max_time_goes_on_bit_for_bit(tiny, type_train, tmp_path):
    arguments = [*tiny, *CONSTANT, "trainer.accumulate_grad_batches=4"]
    assert type_train(*arguments, "hydra.run.dir=whole").code == 0
    # The time is over after the first batch; the optimizer step is four batches long.
    typed = type_train(*arguments, "+trainer.max_time={milliseconds: 1}", "hydra.run.dir=parts",
                       "trainer.limit_val_batches=1")  # fmt: skip
    assert typed.code == 0, typed.err
    assert summary(tmp_path / "parts")["steps"] <= 1
    typed = type_train(
        "resume=parts", "trainer.max_time.milliseconds=3600000", "trainer.limit_val_batches=1.0"
    )
    assert typed.code == 0, typed.err
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert same_weights(weights(tmp_path / "parts"), weights(tmp_path / "whole"))


@pytest.mark.parametrize("accumulate", [1, 4])
def test_an_early_stop_in_mid_epoch_goes_on_bit_for_bit(tiny, type_train, tmp_path, accumulate):
    arguments = [*tiny, *CONSTANT, "callbacks=early_stopping", "trainer.val_check_interval=5",
                 f"trainer.accumulate_grad_batches={accumulate}"]  # fmt: skip
    patient = "callbacks.early_stopping.patience=99"
    assert type_train(*arguments, patient, "hydra.run.dir=whole").code == 0
    # A loss so far down that no validation improves on it.
    typed = type_train(*arguments, "callbacks.early_stopping.patience=1", "hydra.run.dir=parts",
                       "+callbacks.early_stopping.min_delta=50")  # fmt: skip
    assert typed.code == 0, typed.err
    stopped = summary(tmp_path / "parts")
    assert stopped["steps"] == {1: 10, 4: 3}[accumulate]
    assert [epoch["epoch"] for epoch in stopped["epochs"]] == [1]
    # Resumed with the same patience it stays stopped.
    assert type_train("resume=parts").code == 0
    assert summary(tmp_path / "parts")["steps"] == stopped["steps"]
    assert type_train("resume=parts", patient).code == 0
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert same_weights(weights(tmp_path / "parts"), weights(tmp_path / "whole"))
    ours, theirs = (
        [{**epoch, "seconds": 0} for epoch in summary(tmp_path / name)["epochs"]]
        for name in ("parts", "whole")
    )
    assert ours == theirs


def test_a_budget_that_ends_in_mid_epoch_goes_on_bit_for_bit(tiny, type_train, tmp_path):
    arguments = [*tiny, *CONSTANT, "budget.validations=2"]
    assert type_train(*arguments, "budget.tokens=4096", "hydra.run.dir=whole").code == 0
    assert type_train(*arguments, "budget.tokens=1024", "hydra.run.dir=parts").code == 0
    assert type_train("resume=parts", "budget.tokens=4096").code == 0
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert same_weights(weights(tmp_path / "parts"), weights(tmp_path / "whole"))


def test_an_interrupted_budget_validates_where_an_undisturbed_one_does(
    tiny, type_train, tmp_path, monkeypatch
):
    arguments = [*tiny, *CONSTANT, "budget.tokens=4096", "budget.validations=4"]
    assert type_train(*arguments, "hydra.run.dir=whole").code == 0
    stop_at(monkeypatch, 9)
    assert type_train(*arguments, "hydra.run.dir=parts").code == 143
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert type_train("resume=parts").code == 0
    assert_same_run(tmp_path / "parts", tmp_path / "whole")
    assert len([row for row in rows(tmp_path / "parts") if "val/loss" in row]) == 4


def stop_at(monkeypatch, step):
    """Sends this process a SIGTERM in the step that follows `step` others."""
    training_step = LitGPT.training_step

    def stopping(self, batch, batch_idx):
        if self.global_step == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return training_step(self, batch, batch_idx)

    monkeypatch.setattr(LitGPT, "training_step", stopping)


def test_a_kill_in_the_first_epoch_loses_what_came_after_the_last_validation(
    tiny, type_train, tmp_path
):
    arguments = [*tiny, *CONSTANT, "trainer.val_check_interval=4"]
    assert type_train(*arguments, "hydra.run.dir=whole").code == 0
    killed_train(tmp_path, 14, *arguments, "hydra.run.dir=parts")
    run = RunFolder(tmp_path / "parts")
    assert run.read_summary().status == "killed"
    assert run.read_summary().steps == 12
    assert read_checkpoint(run.last)["global_step"] == 12
    # In a process of its own: TensorBoard orders the files by the second they were opened in.
    train_alone(tmp_path, "resume=parts")
    assert_same_run(tmp_path / "parts", tmp_path / "whole")

    events = EventAccumulator(str(tmp_path / "parts"), size_guidance={"scalars": 0}).Reload()
    whole = EventAccumulator(str(tmp_path / "whole"), size_guidance={"scalars": 0}).Reload()
    for tag in whole.Tags()["scalars"]:
        steps = [event.step for event in events.Scalars(tag)]
        assert steps == sorted(set(steps)), tag
        assert steps == [event.step for event in whole.Scalars(tag)], tag


def test_a_checkpoint_by_time_waits_for_the_end_of_an_accumulated_step(tiny, type_train, tmp_path):
    arguments = [
        *tiny,
        *CONSTANT,
        "trainer.accumulate_grad_batches=4",
        "callbacks.last.minutes=1e-9",
    ]
    assert type_train(*arguments, "hydra.run.dir=whole").code == 0
    killed_train(tmp_path, 2, *arguments, "hydra.run.dir=parts")
    run = RunFolder(tmp_path / "parts")
    checkpoint = read_checkpoint(run.last)
    assert checkpoint["global_step"] == run.read_summary().steps == 2
    progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]
    assert progress["completed"] == 8
    assert type_train("resume=parts").code == 0
    assert_same_run(tmp_path / "parts", tmp_path / "whole")


def test_a_moved_run_keeps_its_best_when_a_later_validation_is_worse(tiny, type_train, tmp_path):
    arguments = [*tiny, *CONSTANT, "trainer.max_epochs=1"]
    assert type_train(*arguments, "optimizer.lr=0.01", "hydra.run.dir=first").code == 0
    shutil.move(tmp_path / "first", tmp_path / "moved")
    best, loss = weights(tmp_path / "moved", "best"), summary(tmp_path / "moved")["best"]
    assert type_train("resume=moved", "trainer.max_epochs=2", "optimizer.lr=1.0").code == 0
    after = summary(tmp_path / "moved")
    assert after["epochs"][1]["val_loss"] > loss["val_loss"]
    assert after["best"] == loss
    assert same_weights(weights(tmp_path / "moved", "best"), best)
    assert not (tmp_path / "first").exists()


# Keys that change


def test_a_changed_setting_of_the_optimizer_acts_and_is_recorded(tiny, type_train, tmp_path):
    assert type_train(*tiny, "trainer.max_epochs=1", "hydra.run.dir=run").code == 0
    typed = type_train(
        "resume=run", "trainer.max_epochs=2", "optimizer.lr=0.1", "optimizer.weight_decay=0",
        "optimizer.betas=[0.5,0.6]", "optimizer.eps=1e-3", "optimizer.fused=false",
        "scheduler.name=none",
    )  # fmt: skip
    assert typed.code == 0, typed.err
    checkpoint = read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")
    (group,) = checkpoint["optimizer_states"][0]["param_groups"]
    assert (group["lr"], group["initial_lr"], group["weight_decay"]) == (0.1, 0.1, 0)
    assert (group["betas"], group["eps"], group["fused"]) == ((0.5, 0.6), 1e-3, False)
    assert checkpoint["lr_schedulers"][0]["base_lrs"] == [0.1]
    rates = [row["lr"] for row in rows(tmp_path / "run") if "lr" in row]
    assert Counter(rates[EPOCH:]) == {0.1: EPOCH}
    config = plain(RunFolder(tmp_path / "run").read_config())
    assert (config["optimizer"]["lr"], config["optimizer"]["weight_decay"]) == (0.1, 0)


def test_the_groups_of_the_optimizer_cannot_change(tiny, type_train, tmp_path):
    assert type_train(*tiny, "trainer.max_epochs=1", "hydra.run.dir=run").code == 0
    typed = type_train("resume=run", "trainer.max_epochs=2", "optimizer.decay=matrices")
    assert typed.code == 2
    assert typed.err.startswith(
        "error: resume: the checkpoint has optimizer.decay=all, this run asks for matrices; "
    )


def test_a_key_of_the_runs_own_config_needs_no_plus_and_acts(tiny, type_train, tmp_path):
    arguments = [*tiny, "callbacks=early_stopping", "callbacks.early_stopping.patience=1",
                 "+callbacks.early_stopping.min_delta=50", "trainer.max_epochs=9"]  # fmt: skip
    assert type_train(*arguments, "hydra.run.dir=run").code == 0
    assert summary(tmp_path / "run")["steps"] == 2 * EPOCH
    typed = type_train("resume=run", "callbacks.early_stopping.patience=3")
    assert typed.code == 0, typed.err
    assert summary(tmp_path / "run")["steps"] == 4 * EPOCH
    for change, message in {
        "callbacks.early_stopping.patienc=3": "error: unknown key callbacks.early_stopping.patienc",
        "run_dir=elsewhere": "error: run_dir: a resumed run keeps its folder",
    }.items():
        typed = type_train("resume=run", change)
        assert (typed.code, typed.err[: len(message)]) == (2, message)


def test_a_run_cannot_be_made_shorter_than_it_is(tiny, type_train, tmp_path):
    assert type_train(*tiny, "trainer.max_steps=9", "hydra.run.dir=run").code == 0
    typed = type_train("resume=run", "trainer.max_steps=8")
    assert (typed.code, typed.err) == (
        2, "error: the run to resume has 9 steps behind it, and its length is now 8; raise "
        "trainer.max_steps, or the budget that sets it\n"
    )  # fmt: skip
    assert type_train("resume=run", "trainer.max_epochs=1", "trainer.max_steps=-1").code == 0
    assert summary(tmp_path / "run")["steps"] == EPOCH
    typed = type_train("resume=run", "trainer.max_epochs=0")
    assert typed.code == 2


def test_an_epoch_cannot_end_before_the_place_to_resume_from(
    tiny, type_train, tmp_path, monkeypatch
):
    stop_at(monkeypatch, 9)
    assert type_train(*tiny, "hydra.run.dir=run").code == 143
    before = summary(tmp_path / "run")
    config = (tmp_path / "run" / "config.yaml").read_bytes()
    typed = type_train("resume=run", "trainer.limit_train_batches=10")
    assert typed.code == 2
    assert typed.err.startswith(
        "error: trainer.limit_train_batches leaves 10 batches an epoch: the run to resume stands "
        "behind batch 10 of one"
    )
    assert summary(tmp_path / "run") == before
    assert (tmp_path / "run" / "config.yaml").read_bytes() == config
    assert type_train("resume=run").code == 0


def test_a_changed_key_of_a_complete_run_is_refused_and_changes_no_file(tiny, type_train, tmp_path):
    assert type_train(*tiny, "trainer.max_epochs=1", "hydra.run.dir=run").code == 0
    files = {path: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    typed = type_train("resume=run", "optimizer.lr=0.5")
    assert typed.code == 2
    assert typed.err.startswith("error: the run to resume is complete, so a changed key")
    assert files == {p: p.read_bytes() for p in (tmp_path / "run").iterdir() if p.is_file()}
    assert type_train("resume=run").code == 0  # as it was, it only tests again
    assert (tmp_path / "run" / "metrics.csv").read_bytes() == files[tmp_path / "run/metrics.csv"]
    assert type_train("resume=run", "optimizer.lr=0.5", "trainer.max_epochs=2").code == 0


# What is recorded


def test_tensorboards_table_shows_the_keys_that_a_resume_changed(tiny, type_train, tmp_path):
    assert type_train(*tiny, "trainer.max_epochs=1", "hydra.run.dir=run").code == 0
    assert type_train("resume=run", "trainer.max_epochs=2", "optimizer.lr=0.125").code == 0
    events = EventAccumulator(str(tmp_path / "run")).Reload()
    row = HParamsPluginData.FromString(
        events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    ).session_start_info.hparams
    assert row["optimizer.lr"].number_value == 0.125
    assert row["trainer.max_epochs"].number_value == 2


def test_a_sanity_check_leaves_no_row(tiny, type_train, tmp_path):
    typed = type_train(*tiny, "trainer.num_sanity_val_steps=2", "trainer.max_epochs=1",
                       "hydra.run.dir=run")  # fmt: skip
    assert typed.code == 0, typed.err
    assert rows(tmp_path / "run")[0]["step"] == 1
    events = EventAccumulator(str(tmp_path / "run")).Reload()
    assert [event.step for event in events.Scalars("val/loss")] == [EPOCH]


def test_an_epoch_without_a_validation_has_no_held_out_loss(tiny, type_train, tmp_path):
    typed = type_train(*tiny, "+trainer.check_val_every_n_epoch=2", "trainer.max_epochs=3",
                       "hydra.run.dir=run")  # fmt: skip
    assert typed.code == 0, typed.err
    losses = [epoch["val_loss"] for epoch in summary(tmp_path / "run")["epochs"]]
    assert [loss is None for loss in losses] == [True, False, True]


@pytest.mark.parametrize(
    ("words", "folder", "again"),
    [
        (["hydra.run.dir=killed"], "killed", ["resume=killed"]),
        (["-m", "hydra.sweep.dir=killed"], "killed/0", None),  # the same command goes on
    ],
)
def test_a_run_that_is_killed_in_its_evaluation_is_evaluated_by_the_next_start(
    tiny, type_train, tmp_path, words, folder, again
):
    kill = (
        "import os, signal\n"
        "from minigpt.commands.train import main\n"
        "from minigpt.evaluation import end_of_run\n"
        "end_of_run.short_extraction = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "main()\n"
    )
    short = [*tiny, "trainer.max_steps=25"]  # the second epoch is cut short
    assert type_train(*short, "hydra.run.dir=whole").code == 0
    done = start_python(tmp_path, "-c", kill, *words, *short)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert summary(tmp_path / folder)["status"] == "running"  # and nobody holds the folder
    typed = type_train(*(again or [*words, *short]))
    assert typed.code == 0, typed.err
    assert_same_run(tmp_path / folder, tmp_path / "whole")
    for key in ("evaluation", "comes_back"):
        assert summary(tmp_path / folder)[key] == summary(tmp_path / "whole")[key]
