"""A SLURM job that is stopped before its time limit goes on in the same folder, bit for bit.

`scontrol` and `srun` are stand-ins on the PATH, which record what they were asked.
"""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from minigpt.training.lit_gpt import LitGPT
from tests.conftest import REPOSITORY, run_folders
from tests.test_train import losses, same_weights, summary, weights

SHORT = ["trainer.max_epochs=1", "~callbacks.samples", "model.dropout=0.2"]
REQUEUES = 10


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """An allocation of SLURM with the number 7; returns what scontrol was asked so far."""
    asked = tmp_path / "asked.txt"
    program(tmp_path / "bin" / "scontrol", f'echo "scontrol $@" >> {asked}')
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    return lambda: asked.read_text().splitlines() if asked.exists() else []


def program(path: Path, *lines: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
    path.chmod(0o755)


@pytest.fixture
def steps(monkeypatch):
    """The optimizer step of every batch trained so far; in some of them SIGUSR1 comes."""
    trained, stops = [], set()
    step = LitGPT.training_step

    def training_step(self, batch, batch_idx):
        trained.append(self.global_step)
        if self.global_step in stops:
            os.kill(os.getpid(), signal.SIGUSR1)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(LitGPT, "training_step", training_step)
    return trained, stops


def test_ten_requeues_end_in_the_undisturbed_weights_and_repeat_no_step(
    tiny, type_train, tmp_path, slurm, steps, monkeypatch
):
    trained, stops = steps
    command = [*tiny, *SHORT]
    assert type_train(*command, "name=whole").code == 0
    undisturbed = trained.copy()
    trained.clear()
    stops.update(range(0, 2 * REQUEUES, 2))  # also in the last step
    for start in range(REQUEUES):
        typed = type_train(*command, "name=parts")
        assert (typed.code, typed.err) == (138, "stopped; job 7 is requeued\n")
        assert slurm() == ["scontrol requeue 7"] * (start + 1)
        monkeypatch.setenv("SLURM_RESTART_COUNT", str(start + 1))
    assert type_train(*command, "name=parts").code == 0
    assert trained == undisturbed
    parts, whole = run_folders(tmp_path)  # and no third
    assert parts.parent.name == "parts"
    assert len(summary(parts)["resumed_by"]) == REQUEUES
    assert losses(parts) == losses(whole)
    assert same_weights(weights(parts), weights(whole))
    typed = type_train(*command, "name=parts")  # as where the job's script has another command
    assert typed.err == f"{parts.relative_to(tmp_path)} is finished already\n"
    assert len(run_folders(tmp_path)) == 2


@pytest.mark.parametrize(
    ("scontrol", "reason"),
    [
        (None, "scontrol cannot be run (No such file or directory)"),
        (["echo slurm_load_jobs: Job is held >&2", "exit 1"], "slurm_load_jobs: Job is held"),
        (["exit 3"], "scontrol failed with exit code 3"),
    ],
)
def test_a_job_that_slurm_does_not_requeue_is_kept_and_says_so(
    tiny, type_train, tmp_path, slurm, steps, scontrol, reason
):
    (tmp_path / "bin" / "scontrol").unlink()
    if scontrol:
        program(tmp_path / "bin" / "scontrol", *scontrol)
    steps[1].add(2)
    typed = type_train(*tiny, *SHORT, "hydra.run.dir=run")
    assert (typed.code, typed.err) == (
        75,
        f"stopped, but job 7 is not requeued: {reason}; "
        "continue with: python train.py resume=run\n",
    )
    assert summary(tmp_path / "run")["status"] == "interrupted"
    assert summary(tmp_path / "run")["steps"] == 3


def test_another_job_and_another_command_begin_runs_of_their_own(
    tiny, type_train, tmp_path, slurm, steps, monkeypatch
):
    steps[1].add(1)
    once = [*tiny, *SHORT, "trainer.limit_train_batches=2", "name=x"]
    assert type_train(*once).code == 138
    assert type_train(*once).code == 138  # twice by hand, in one allocation
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert type_train(*once, "seed=2").code == 138
    monkeypatch.setenv("SLURM_JOB_ID", "8")
    assert type_train(*once).code == 138
    assert [summary(run)["resumed_by"] for run in run_folders(tmp_path)] == [[]] * 4


def test_a_requeued_sweep_goes_on_in_its_folder(
    tiny, type_train, tmp_path, slurm, steps, monkeypatch
):
    trained, stops = steps
    sweep = ["-m", *tiny, *SHORT, "trainer.limit_train_batches=4", "seed=1,2"]
    stops.add(2)
    assert type_train(*sweep).code == 138
    stops.clear()
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert type_train(*sweep).code == 0
    assert slurm() == ["scontrol requeue 7"]
    (folder,) = (tmp_path / "outputs" / "sweeps").iterdir()
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == [
        "0-seed=1",
        "1-seed=2",
    ]
    assert trained == [0, 1, 2, 3] * 2


def test_srun_trains_one_run_which_a_signal_to_one_process_requeues(
    tiny, tmp_path, slurm, monkeypatch
):
    program(
        tmp_path / "bin" / "srun",
        f'echo "srun $@" >> {tmp_path}/asked.txt',
        "export SLURM_NTASKS=2 SLURM_NTASKS_PER_NODE=2 SLURM_NODEID=0 SLURM_NODELIST=localhost",
        'SLURM_PROCID=1 SLURM_LOCALID=1 "$@" & second=$!',
        'SLURM_PROCID=0 SLURM_LOCALID=0 "$@"; code=$?',
        "wait $second; exit $code",
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]  # free again when the block ends
    variables = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
        "PYTHONPATH": str(REPOSITORY),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    target = "_target_: tests.named_callbacks.SignalAtStep"
    stop = f"+callbacks.stop={{{target}, name: SIGUSR1, step: 1, rank: 1}}"
    command = [sys.executable, str(REPOSITORY / "train.py"), *tiny, *SHORT, "name=srun", stop,
               "trainer.limit_train_batches=4"]  # fmt: skip

    def sbatch():
        done = subprocess.run(["srun", *command], cwd=tmp_path, capture_output=True, text=True,
                              check=False, timeout=100)  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    code, out, err = sbatch()
    assert (code, err) == (138, "stopped; job 7 is requeued\n")
    assert [line.split()[:3] for line in slurm()] == [
        ["srun", sys.executable, command[1]], ["scontrol", "requeue", "7"],
    ]  # fmt: skip
    (run,) = run_folders(tmp_path)
    stopped_at = summary(run)["steps"]
    assert stopped_at in (2, 3)  # a signal takes a moment to reach the other process
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    code, out, err = sbatch()
    assert (code, err) == (0, "")
    assert out.count(f"run      outputs/srun/{run.name}") == 1
    assert list((tmp_path / "outputs" / "srun").iterdir()) == [run]
    assert "devices: 2" in (run / "config.yaml").read_text()  # a resume starts two by itself
    assert summary(run)["tokens_seen"] == 4 * 16 * 8  # steps, blocks of all processes, tokens
    assert (summary(run)["status"], summary(run)["steps"]) == ("finished", 4)
    assert [int(step) for step, *_ in losses(run)] == [1, 2, 3, 4]
