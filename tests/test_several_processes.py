"""Whole runs of two processes, over gloo on this machine."""

import csv
import faulthandler
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from minigpt.runs.checkpoints import read_checkpoint
from minigpt.training import launcher
from minigpt.training.lit_gpt import LitGPT
from tests.conftest import REPOSITORY, run_folders

EXACT = ["loss=dense", "trainer.precision=32-true"]
TWO = ["trainer.devices=2", *EXACT]
DROPOUT = ["model.dropout=0.2", "model.embd_dropout=0.2"]
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "HYDRA_FULL_ERROR": "0"}


@pytest.fixture(autouse=True)
def bounded(monkeypatch):
    """One thread a process, loopback only, and an end for a test that hangs."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    faulthandler.dump_traceback_later(120, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture
def children(monkeypatch):
    """The processes that the launcher starts; none may be left when the test ends."""
    started = []
    start = launcher._start

    def recorded(command, local_rank):
        started.append(start(command, local_rank))
        return started[-1]

    monkeypatch.setattr(launcher, "_start", recorded)
    yield started
    assert all(child.poll() is not None for child in started)


@pytest.fixture
def at_step(monkeypatch):
    """Calls a function in the first process, in the middle of one optimizer step."""

    def register(step, function):
        original = LitGPT.training_step

        def training_step(self, batch, batch_idx):
            if self.global_step == step:
                function()
            return original(self, batch, batch_idx)

        monkeypatch.setattr(LitGPT, "training_step", training_step)

    return register


def rows(folder: Path):
    with (folder / "metrics.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["train/loss"]]


def losses(folder: Path):
    return [(row["step"], row["train/loss"], row["grad_norm"]) for row in rows(folder)]


def summary(folder: Path):
    return json.loads((folder / "summary.json").read_text())


def weights(folder: Path):
    return read_checkpoint(folder / "checkpoints" / "last.ckpt")["state_dict"]


def only(folder: Path) -> Path:
    (inside,) = folder.iterdir()
    return inside


def test_two_processes_train_as_one_does_also_where_one_has_no_block(
    tiny, type_train, tmp_path, children
):
    # 293 blocks: in the third step of an epoch one process has a block and the other none.
    same = [*tiny, *EXACT, *DROPOUT, "data.batch_size=146", "trainer.max_epochs=4"]
    assert type_train(*same, "name=one").code == 0
    typed = type_train(*same, *TWO, "name=two")
    assert (typed.code, typed.err) == (0, "")
    one, two = run_folders(tmp_path)  # and no third, made by the second process
    assert len(children) == 1
    assert summary(two)["status"] == "finished"
    assert summary(two)["tokens_seen"] == summary(one)["tokens_seen"]
    assert len(rows(two)) == len(rows(one)) == 12
    for ours, theirs in zip(rows(two), rows(one), strict=True):
        for key in ("train/loss", "grad_norm"):
            assert float(ours[key]) == pytest.approx(float(theirs[key]), rel=1e-5)
    for key in ("best", "test"):
        loss = "val_loss" if key == "best" else "loss"
        assert summary(two)[key][loss] == pytest.approx(summary(one)[key][loss], rel=1e-5)
    for name, value in weights(one).items():
        torch.testing.assert_close(weights(two)[name], value, rtol=1e-3, atol=1e-5)


def test_a_run_goes_on_with_another_number_of_processes(tiny, type_train, tmp_path, children):
    arguments = [*tiny, *EXACT, *DROPOUT, "scheduler=none", "trainer.max_epochs=2"]
    assert type_train(*arguments, "name=whole").code == 0
    assert type_train(*arguments, "name=parts", "trainer.max_steps=7").code == 0
    parts, whole = (only(tmp_path / "outputs" / name) for name in ("parts", "whole"))
    for devices, steps in ((2, 20), (4, 25), (1, -1)):  # in mid-epoch, and after its end
        typed = type_train(f"resume={parts}", f"trainer.devices={devices}",
                           f"trainer.max_steps={steps}")  # fmt: skip
        assert typed.code == 0, typed.err
    assert len(children) == 1 + 3
    assert [row["step"] for row in rows(parts)] == [str(step) for step in range(1, 39)]
    for ours, theirs in zip(rows(parts), rows(whole), strict=True):
        assert float(ours["train/loss"]) == pytest.approx(float(theirs["train/loss"]), rel=1e-5)
    assert summary(parts)["tokens_seen"] == summary(whole)["tokens_seen"]


def test_where_one_process_runs_out_of_memory_all_compute_in_parts(
    tiny, type_train, tmp_path, children
):
    # 293 blocks: in the third step of an epoch one process has a block and the other none.
    same = [*tiny, *EXACT, *DROPOUT, "data.batch_size=146", "trainer.max_epochs=4"]
    same.append("optimizer.eps=1e-2")  # so that a gradient of mere rounding makes no full step
    assert type_train(*same, "name=one").code == 0
    limit = "+callbacks.limit={_target_: tests.named_callbacks.MemoryLimit, rows: 40, step: 2, "
    auto = "trainer.auto_accumulate=true"
    typed = type_train(*same, *TWO, auto, limit + "rank: 1}", "name=parts")
    assert typed.code == 0
    assert typed.err == (
        "out of memory at step 3: from here on a process computes 37 of a batch's sequences at a "
        "time, as with data.batch_size=74 trainer.accumulate_grad_batches=2\n"
    )
    one, parts = (only(tmp_path / "outputs" / name) for name in ("one", "parts"))
    assert summary(parts)["micro_batch"] == 37
    for ours, theirs in zip(rows(parts), rows(one), strict=True):
        for key in ("train/loss", "grad_norm"):
            assert float(ours[key]) == pytest.approx(float(theirs[key]), rel=1e-5)
    for name, value in weights(one).items():
        torch.testing.assert_close(weights(parts)[name], value, rtol=0, atol=1e-6)


def test_a_sequence_that_does_not_fit_into_one_process_ends_all(
    tiny, type_train, tmp_path, children
):
    limit = "+callbacks.limit={_target_: tests.named_callbacks.MemoryLimit, rows: 0, rank: 1}"
    typed = type_train(*tiny, *TWO, "trainer.auto_accumulate=true", limit)
    assert typed.code == 2
    assert "error: trainer.auto_accumulate: memory runs out even with one sequence" in typed.err
    assert len(children) == 1


def test_a_step_that_is_not_finite_in_one_process_is_skipped_by_all(
    tiny, type_train, tmp_path, children
):
    poison = "+callbacks.poison={_target_: tests.named_callbacks.PoisonLoss, step: 3, rank: 1}"
    typed = type_train(*tiny, *TWO, "on_nan=skip", poison, "hydra.run.dir=run")
    assert typed.code == 0
    assert typed.err == (
        "skipped step 3, whose loss or gradient is not finite; its text is in run/steps_not_taken\n"
    )
    assert summary(tmp_path / "run")["skipped_steps"] == 1
    names = sorted(path.name for path in (tmp_path / "run/steps_not_taken").iterdir())
    assert names == ["step-3-rank-0.json", "step-3-rank-1.json"]
    assert all(torch.isfinite(value).all() for value in weights(tmp_path / "run").values())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trainer.devices=3"], "data.batch_size=16 is that of all 3 processes together, which do "
         "not divide it; data.batch_size=15 is the nearest that they do"),
        (["trainer.devices=8", "model.block_size=400"], "8 processes share 6 training blocks; set "
         "trainer.devices=6 or fewer, or give more text"),
        (["trainer.devices=2", "on_nan=rewind"], "on_nan=rewind goes back in a run of one process "
         "only, and this one has 2; use on_nan=skip or stop"),
    ],
)  # fmt: skip
def test_processes_that_cannot_share_the_batches_are_refused(
    tiny, type_train, tmp_path, words, message
):
    typed = type_train(*tiny, *words)
    assert typed.code == 2
    assert typed.err.startswith(f"error: {message}")
    assert typed.err.count("\n") == 1
    assert run_folders(tmp_path) == []


def test_the_jobs_of_a_sweep_start_their_processes_one_after_the_other(
    tiny, type_train, tmp_path, children
):
    before = dict(os.environ)
    typed = type_train(
        "-m", *tiny, *TWO, "trainer.max_epochs=1", "trainer.limit_train_batches=2", "seed=1,2"
    )
    assert (typed.code, typed.err) == (0, "")
    assert len(children) == 2
    jobs = run_folders(tmp_path)
    assert [summary(job)["status"] for job in jobs] == ["finished", "finished"]
    assert losses(jobs[0]) != losses(jobs[1])
    for name in launcher.VARIABLES:
        assert os.environ.get(name) == before.get(name)
    assert not torch.distributed.is_initialized()


@pytest.mark.parametrize("which", ["first", "second"])
def test_a_signal_to_one_process_stops_both_at_one_step_and_the_run_resumes_exactly(
    tiny, type_train, tmp_path, children, at_step, monkeypatch, which
):
    arguments = [*tiny, *TWO, *DROPOUT, "trainer.max_epochs=1", "trainer.log_every_n_steps=4"]
    with monkeypatch.context() as patched:
        patched.setattr(LitGPT, "training_step", LitGPT.training_step)
        at_step(9, lambda: os.kill(_pid(which, children), signal.SIGTERM))
        typed = type_train(*arguments, "name=parts")
    assert typed.code == 143, typed.err
    parts = only(tmp_path / "outputs" / "parts")
    assert typed.err.count("stopped") == typed.err.count("\n") == 1
    assert summary(parts)["status"] == "interrupted"
    stopped_at = summary(parts)["steps"]
    assert stopped_at in (10, 11)  # a signal takes a moment to reach the other process
    last = parts / "checkpoints" / "last.ckpt"
    assert read_checkpoint(last)["global_step"] == stopped_at
    assert [path.name for path in last.parent.iterdir()] == ["last.ckpt"]
    if which == "second":
        return
    assert type_train(f"resume={parts}").code == 0
    assert type_train(*arguments, "name=whole").code == 0
    whole = only(tmp_path / "outputs" / "whole")
    assert losses(parts) == losses(whole)
    assert len(losses(whole)) == 4
    assert summary(parts)["tokens_seen"] == summary(whole)["tokens_seen"]
    assert summary(parts)["epochs"][0]["train_loss"] == summary(whole)["epochs"][0]["train_loss"]
    assert all(torch.equal(weights(parts)[name], value) for name, value in weights(whole).items())


def _pid(which, children):
    return os.getpid() if which == "first" else children[-1].pid


def test_a_process_that_dies_ends_the_run(tiny, type_train, tmp_path, children, at_step):
    at_step(3, lambda: children[-1].kill())
    with pytest.raises(launcher.OtherProcessFailedError, match="process 1 died with exit code -9"):
        type_train(*tiny, *TWO)
    (folder,) = run_folders(tmp_path)
    assert summary(folder)["status"] == "failed"
    assert summary(folder)["reason"] == "process 1 died with exit code -9"


def test_an_error_in_one_process_ends_the_run_and_is_named(tiny, type_train, tmp_path, children):
    failing = "+callbacks.failing={_target_: tests.named_callbacks.FailInSecondProcess, step: 3}"
    message = "process 1 failed: OSError: the second process has no disk"
    with pytest.raises(launcher.OtherProcessFailedError, match=message):
        type_train(*tiny, *TWO, failing)
    (folder,) = run_folders(tmp_path)
    assert summary(folder)["status"] == "failed"
    assert summary(folder)["reason"] == message


def test_a_process_with_another_version_is_named_before_the_first_step(
    tiny, type_train, tmp_path, children, monkeypatch
):
    monkeypatch.setattr("platform.python_version", lambda: "3.11.0")  # of the first process
    typed = type_train(*tiny, *TWO)
    assert typed.code == 2
    host = socket.gethostname()
    actual = ".".join(map(str, sys.version_info[:3]))
    assert typed.err == (
        f"error: process 1 on {host} has other than the first on {host}: Python {actual}, not "
        "3.11.0; give all of them the same environment and the same files\n"
    )
    assert run_folders(tmp_path) == []


@pytest.mark.parametrize(
    ("strategy", "reason"),
    [
        ("ddp_spawn", "copies a process that has begun a run"),
        (
            "fsdp",
            "is the older way to divide the weights, and cannot clip gradients by norm",
        ),
        ("foo", "is not one that minigpt can promise its losses and its resume with"),
    ],
)
def test_an_unknown_strategy_is_refused(tiny, type_train, tmp_path, strategy, reason):
    typed = type_train(*tiny, *TWO, f"trainer.strategy={strategy}")
    assert (typed.code, typed.err) == (
        2,
        f"error: trainer.strategy={strategy} {reason}; use auto or ddp or fsdp2\n",
    )
    assert run_folders(tmp_path) == []


def test_a_process_ends_when_the_one_that_started_it_is_gone():
    script = (
        "from minigpt.commands.other_process import end_with_parent; import threading;"
        "end_with_parent(); print('up', flush=True); threading.Event().wait()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert child.stdout.readline() == b"up\n"
    child.stdin.close()
    assert child.wait(60) == 1
    child.stdout.close()


def start(arguments, folder, launcher_command=(), **variables):
    return subprocess.Popen(
        [sys.executable, *launcher_command, str(REPOSITORY / "train.py"), *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process):
    try:
        out, err = process.communicate(timeout=100)
    except subprocess.TimeoutExpired:
        process.terminate()  # torchrun ends its processes
        process.communicate(timeout=60)
        raise
    return process.returncode, out, err


SHORT = ["trainer.max_epochs=1", "trainer.limit_train_batches=2", "data.batch_size=8"]


def test_torchrun_trains_one_run(tiny, tmp_path):
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    code, out, err = ended(start([*tiny, *SHORT], tmp_path, torchrun))
    assert (code, err) == (0, "")
    _assert_one_run_of_two(tmp_path, out)


def _assert_one_run_of_two(tmp_path, out):
    (folder,) = run_folders(tmp_path)
    assert [path.name for path in (tmp_path / "outputs").glob("*/*")] == [folder.name]
    assert summary(folder)["status"] == "finished"
    assert summary(folder)["tokens_seen"] == 2 * 8 * 8  # steps, blocks, tokens
    assert "devices: 2" in (folder / "config.yaml").read_text()  # a resume starts two by itself
    assert out.count("held-out loss") >= 1
    assert out.count(f"run      outputs/{folder.parent.name}/{folder.name}") == 1
