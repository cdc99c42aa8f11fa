"""Sweeps: checked whole, outlived by their other jobs, taken up again, compared at the end."""

import contextlib
import csv
import json
import math
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys

import pytest
import torch

from minigpt.commands import limited_job
from minigpt.errors import UserError
from minigpt.evaluation import end_of_run
from minigpt.reports.compared_runs import find_runs
from minigpt.reports.pages import command_again
from minigpt.runs.checkpoints import read_checkpoint
from minigpt.runs.run_folder import RunFolder
from minigpt.runs.summary import Status
from minigpt.training.lit_gpt import LitGPT
from tests.conftest import REPOSITORY

SHORT = ["trainer.max_epochs=1", "trainer.limit_train_batches=4"]
HERE = "hydra.sweep.dir=sweep"


def jobs(folder):
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def table(folder):
    """runs.csv by the jobs' names, less what no two machines share."""
    with (folder / "runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    timed = ("seconds", "tokens_per_second", "peak_memory_bytes", "folder")
    return {row["run"]: {k: v for k, v in row.items() if k not in timed} for row in rows}


def run_code(code, arguments, folder):
    """The exit status of a process that runs some code."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, check=False
    ).returncode


def test_a_sweep_ends_with_its_report(tiny, type_train, tmp_path):
    typed = type_train("-m", *tiny, *SHORT, "optimizer.lr=1e-3,1e-2", "model.n_embd=16,32", HERE)
    assert (typed.code, typed.err) == (0, "")
    assert jobs(tmp_path / "sweep") == [
        "0-n_embd=16,lr=0.001",
        "1-n_embd=16,lr=0.01",
        "2-n_embd=32,lr=0.001",
        "3-n_embd=32,lr=0.01",
    ]
    found = table(tmp_path / "sweep")
    assert found.keys() == set(jobs(tmp_path / "sweep"))
    losses = [float(row["best_val_loss"]) for row in found.values()]
    assert losses == sorted(losses)
    page = (tmp_path / "sweep" / "report.html").read_text()
    assert page.count("<svg") == 3  # curves, heat map, costs
    assert "optimizer.lr 0.001 to 0.01: " in page
    assert "mean of 2 pairs" in page
    assert "report  sweep/report.html" in typed.out
    assert (tmp_path / "sweep" / "report.md").read_text().startswith("# 4 runs compared\n")


def test_a_job_that_cannot_run_and_one_that_diverges_leave_the_others(
    tiny, type_train, tmp_path, monkeypatch
):
    loss = LitGPT.loss

    def breaking(self, batch, *smoothing):
        broken = self.training and self.seed == 2 and self.global_step == 2
        return loss(self, batch, *smoothing) * (float("nan") if broken else 1)

    monkeypatch.setattr(LitGPT, "loss", breaking)
    typed = type_train("-m", *tiny, *SHORT, "model.n_head=1,3", "seed=1,2,3", HERE)
    assert typed.code == 1
    lines = typed.err.splitlines()
    impossible = "model.n_embd=16 is not a multiple of model.n_head=3"
    assert lines[0].startswith(f"jobs 3, 4, 5 cannot run: {impossible}")
    assert typed.err.count(impossible) == 1
    assert "job 1-n_head=1,seed=2 failed: the loss is nan at step 2" in typed.err
    assert lines[-1].startswith(
        "4 of 6 jobs did not finish; try them again with: python train.py -m"
    )
    found = table(tmp_path / "sweep")
    statuses = {name: row["status"] for name, row in found.items()}
    assert [statuses[f"{i}-n_head=1,seed={i + 1}"] for i in range(3)] == [
        "finished", "diverged", "finished",
    ]  # fmt: skip
    page = (tmp_path / "sweep" / "report.html").read_text()
    for reason in (
        "the loss is nan at step 2",
        "model.n_embd=16 is not a multiple of model.n_head=3",
    ):
        assert reason in page


def test_the_same_command_skips_what_is_finished_and_retries_what_failed(
    tiny, type_train, tmp_path, monkeypatch
):
    sweep = ["-m", *tiny, *SHORT, "seed=1,2", HERE]
    loss = LitGPT.loss
    monkeypatch.setattr(LitGPT, "loss", lambda self, batch, *smoothing: loss(self, batch) * (
        float("nan") if self.seed == 2 else 1))  # fmt: skip
    assert type_train(*sweep).code == 1
    monkeypatch.setattr(LitGPT, "loss", loss)
    first = (tmp_path / "sweep" / "0-seed=1" / "summary.json").read_bytes()
    typed = type_train(*sweep)
    assert typed.code == 0
    assert typed.err == "job 0-seed=1 is finished already\n"
    assert (tmp_path / "sweep" / "0-seed=1" / "summary.json").read_bytes() == first
    assert {row["status"] for row in table(tmp_path / "sweep").values()} == {"finished"}


def test_a_job_that_failed_after_a_checkpoint_goes_on_from_it(tiny, type_train, tmp_path):
    sweep = ["-m", *tiny, *SHORT, "seed=1,2", HERE]
    assert type_train(*sweep).code == 0
    run = RunFolder(tmp_path / "sweep" / "0-seed=1")
    failed = {"status": Status.FAILED, "reason": "cannot write: No space left on device"}
    run.write_summary(run.read_summary().model_copy(update=failed))
    assert type_train(*sweep).code == 0
    after = run.read_summary()
    assert (after.status, after.reason, len(after.resumed_by)) == (Status.FINISHED, None, 1)


def test_a_folder_of_another_sweep_is_refused(tiny, type_train, tmp_path):
    assert type_train("-m", *tiny, *SHORT, "seed=1", HERE).code == 0
    typed = type_train("-m", *tiny, *SHORT, "seed=1", "optimizer.lr=0.5", HERE)
    assert typed.code == 2
    assert "holds a job with other settings; give the sweep a new hydra.sweep.dir" in typed.err


def test_a_folder_with_something_else_in_it_is_left_alone(tiny, type_train, tmp_path):
    (tmp_path / "sweep" / "0-seed=1").mkdir(parents=True)
    (tmp_path / "sweep" / "0-seed=1" / "mine.txt").write_text("mine")
    typed = type_train("-m", *tiny, *SHORT, "seed=1,2", HERE)
    assert typed.code == 2
    assert "0-seed=1 is not empty and holds no run; choose another hydra.sweep.dir" in typed.err
    assert (tmp_path / "sweep" / "0-seed=1" / "mine.txt").read_text() == "mine"


def test_a_report_that_fails_is_no_success(tiny, type_train, tmp_path, monkeypatch):
    monkeypatch.setattr("minigpt.reports.comparison.runs_csv", lambda *_: 1 / 0)
    typed = type_train("-m", *tiny, *SHORT, "seed=1,2", HERE)
    assert typed.code == 1
    assert "the report failed; the runs are in sweep: division by zero" in typed.err


def test_an_import_that_fails_in_the_report_is_no_success(tiny, type_train, monkeypatch):
    monkeypatch.setitem(sys.modules, "minigpt.reports.comparison", None)
    typed = type_train("-m", *tiny, *SHORT, "seed=1", HERE)
    assert typed.code == 1
    assert "the report failed; the runs are in sweep: import of minigpt.reports" in typed.err


def test_a_second_sweep_or_run_in_a_folder_in_use_is_refused(tiny, type_train, tmp_path):
    for name, words in {"sweep": ["-m", HERE, "seed=1,2"], "run": ["hydra.run.dir=run"]}.items():
        with RunFolder(tmp_path / name).claim():
            typed = type_train(*words, *tiny, *SHORT)
        assert typed.code == 2
        assert typed.err.startswith(
            f"error: {tmp_path / name if name == 'run' else name} is in use"
        )
        assert typed.err.count("\n") == 1
        assert type_train(*words, *tiny, *SHORT).code == 0
    with RunFolder(tmp_path / "run").claim():
        typed = type_train("resume=run", "trainer.max_epochs=2")
    assert (typed.code, typed.err.count("\n")) == (2, 1)
    assert "run is in use by another process" in typed.err


def test_a_job_killed_before_its_config_was_written_starts_again(tiny, type_train, tmp_path):
    (tmp_path / "sweep" / "0-seed=1").mkdir(parents=True)
    (tmp_path / "sweep" / "0-seed=1" / "config.yaml").touch()
    typed = type_train("-m", *tiny, *SHORT, "seed=1", HERE)
    assert (typed.code, typed.err) == (0, "")
    assert {row["status"] for row in table(tmp_path / "sweep").values()} == {"finished"}


def test_a_sweep_is_checked_with_the_users_own_config_folder(tiny, type_train, tmp_path):
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "mine.yaml").write_text(
        "# @package _global_\nmodel:\n  dropout: 0.3\n"
    )
    words = [f"--config-dir={tmp_path}/mine", "-m", "experiment=mine", "seed=1,2"]
    typed = type_train(*words, *tiny, *SHORT, HERE)
    assert (typed.code, typed.err) == (0, "")
    assert jobs(tmp_path / "sweep") == ["0-seed=1", "1-seed=2"]


def test_a_killed_sweep_started_again_ends_as_an_undisturbed_one(tiny, type_train, tmp_path):
    sweep = ["-m", *tiny, "model.dropout=0.2", "seed=1,2,3", "trainer.max_epochs=3",
             "trainer.limit_train_batches=5"]  # fmt: skip
    kill = (
        "import os, signal, sys, train\n"
        "from minigpt.training.lit_gpt import LitGPT\n"
        "step = LitGPT.training_step\n"
        "def killed(self, batch, i):\n"
        "    if self.seed == 2 and self.global_step == 12: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return step(self, batch, i)\n"
        "LitGPT.training_step = killed\n"
        "train.main()"
    )
    assert type_train(*sweep, "hydra.sweep.dir=whole").code == 0
    assert run_code(kill, [*sweep, "hydra.sweep.dir=killed"], tmp_path) == -signal.SIGKILL
    again = type_train(*sweep, "hydra.sweep.dir=killed")
    assert again.code == 0, again.err
    assert "job 0-seed=1 is finished already" in again.err
    assert table(tmp_path / "killed") == table(tmp_path / "whole")
    for name in jobs(tmp_path / "whole"):
        ours, theirs = (
            read_checkpoint(tmp_path / sweep / name / "checkpoints/last.ckpt")["state_dict"]
            for sweep in ("killed", "whole")
        )
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_stops_the_whole_sweep(tiny, type_train, tmp_path, monkeypatch, name, code):
    step = LitGPT.training_step

    def stopping(self, batch, batch_idx):
        if self.global_step == 1:
            os.kill(os.getpid(), getattr(signal, name))
        return step(self, batch, batch_idx)

    monkeypatch.setattr(LitGPT, "training_step", stopping)
    typed = type_train("-m", *tiny, *SHORT, "seed=1,2", HERE)
    assert typed.code == code
    assert jobs(tmp_path / "sweep") == ["0-seed=1"]


def test_a_budget_gives_every_run_the_same_tokens(tiny, type_train, tmp_path):
    typed = type_train("-m", *tiny, "budget.tokens=2048", "budget.validations=2",
                       "data.batch_size=8,16", "model.n_embd=16,32", HERE)  # fmt: skip
    assert (typed.code, typed.err) == (0, "")
    runs = find_runs([tmp_path / "sweep"])
    assert [run.summary.tokens_seen for run in runs] == [pytest.approx(2048, rel=0.01)] * 4
    assert {run.summary.steps for run in runs} == {32, 16}
    for run in runs:  # the last step has its validation
        assert run.series("val/loss")[-1][0] == run.summary.steps
        assert len(run.series("val/loss")) == 2
    assert "Fair by budget.tokens=2048: every run was given the same" in typed.out


def test_an_ablation_changes_one_thing_at_a_time(tiny, type_train, tmp_path):
    small = [override for override in tiny if "n_layer" not in override]
    typed = type_train("+sweep=ablation", *small, *SHORT, HERE)
    assert (typed.code, typed.err) == (0, "")
    changed = {}
    runs = {run.name.partition("=")[2]: run for run in find_runs([tmp_path / "sweep"])}
    for name, run in runs.items():
        base = runs["none"].settings
        changed[name] = {key for key in base if run.settings[key] != base[key]}
    assert changed["none"] == set()
    assert changed["shallow"] == changed["deep"] == {"model.n_layer"}
    assert changed["no_positions"] == {"model.positions"}
    assert changed["one_head"] == {"model.n_head"}
    assert changed["no_dropout"] == {"model.dropout", "model.embd_dropout"}
    assert "model.tie_weights" in changed["tied_head"]
    assert "scheduler.name" in changed["warmup_cosine"]
    again = shlex.split(command_again(runs["deep"]))
    assert again[-1] == "hydra.mode=RUN"
    typed = type_train(*again[again.index("train.py") + 1 :], "hydra.run.dir=again")
    assert typed.code == 0
    (copy,) = find_runs([tmp_path / "again"])
    assert copy.settings == runs["deep"].settings


def test_optuna_searches_for_the_fewest_held_out_bits_per_byte(tiny, type_train, tmp_path):
    typed = type_train(
        "+sweep=optuna", *tiny, *SHORT, "hydra.sweeper.n_trials=3", HERE,
        "hydra.sweeper.params={optimizer.lr: 'tag(log, interval(1e-4, 1e-1))'}",
    )  # fmt: skip
    assert typed.code == 0
    runs = find_runs([tmp_path / "sweep"])
    assert len(runs) == 3
    assert len({run.settings["optimizer.lr"] for run in runs}) == 3
    best = (tmp_path / "sweep" / "optimization_results.yaml").read_text()
    assert f"best_value: {min(run.val_bits for run in runs)}" in best


def test_a_killed_search_continues_the_study_in_its_database(tiny, type_train, tmp_path):
    kill = (
        "import os, signal, sys, train\n"
        "from pathlib import Path\n"
        "from minigpt.training.lit_gpt import LitGPT\n"
        "step = LitGPT.training_step\n"
        "def killed(self, batch, i):\n"
        "    jobs = [path for path in Path('sweep').iterdir() if path.is_dir()]\n"
        "    if len(jobs) == 2 and i == 2: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return step(self, batch, i)\n"
        "LitGPT.training_step = killed\n"
        "train.main()"
    )
    search = [
        "+sweep=optuna", *tiny, *SHORT, HERE, "hydra.sweeper.n_trials=3",
        "hydra.sweeper.storage=sqlite:///study.db",
        "hydra.sweeper.params={optimizer.lr: 'tag(log, interval(1e-4, 1e-1))'}",
    ]  # fmt: skip

    def trials(state):
        with contextlib.closing(sqlite3.connect(tmp_path / "study.db")) as study:
            query = "select count(*) from trials where state = ?"
            return study.execute(query, [state]).fetchone()[0]

    assert run_code(kill, search, tmp_path) == -signal.SIGKILL
    assert (trials("COMPLETE"), trials("RUNNING")) == (1, 1)
    again = type_train(*search)
    assert again.code == 0, again.err
    assert trials("COMPLETE") == 4
    assert "is finished already" in again.err  # the same seed proposes it again
    assert {row["status"] for row in table(tmp_path / "sweep").values()} == {"finished"}


# A sweep on Ray is in test_ray_nodes.py as well.
RAY = pytest.param("ray", marks=pytest.mark.soak)


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local", RAY])
def test_a_launcher_runs_jobs_of_one_and_of_two_processes(tiny, tmp_path, launcher):
    words = ["-m", *tiny, *SHORT, "trainer.devices=1,2", "data.batch_size=16", HERE,
             f"hydra/launcher={launcher}"]  # fmt: skip
    if launcher == "submitit_local":  # which then requeues the job, as in SLURM
        target = "tests.named_callbacks.SignalAtStep"
        words.append(f"+callbacks.stop={{_target_: {target}, name: SIGUSR2, step: 2, rank: 1}}")
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "train.py"), *words],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    runs = find_runs([tmp_path / "sweep"])
    assert sorted(run.name for run in runs) == ["0-devices=1", "1-devices=2"]
    assert all(run.is_finished and math.isfinite(run.val_loss) for run in runs)
    resumed = {run.name: len(run.summary.resumed_by) for run in runs}
    assert resumed == {"0-devices=1": 0, "1-devices=2": int(launcher == "submitit_local")}
    assert jobs(tmp_path / "sweep") == [".submitit"] * (launcher == "submitit_local") + [
        "0-devices=1", "1-devices=2",
    ]  # fmt: skip
    assert not (tmp_path / "outputs").exists()
    assert (tmp_path / "sweep" / "report.html").exists()


def test_a_job_whose_evaluation_failed_is_evaluated_by_the_next_start(
    tiny, type_train, tmp_path, monkeypatch
):
    def full(*_):
        raise UserError("evaluation.json: No space left on device")

    sweep = ["-m", *tiny, *SHORT, "seed=1,2", HERE]
    with monkeypatch.context() as patched:
        patched.setattr(end_of_run, "write_evaluation", full)
        typed = type_train(*sweep)
    assert typed.code == 0
    assert "the run is finished, but its evaluation failed: evaluation.json: No space" in typed.err
    runs = [RunFolder(tmp_path / "sweep" / name) for name in ("0-seed=1", "1-seed=2")]
    assert [run.read_summary().reason for run in runs] == [
        "its evaluation failed: evaluation.json: No space left on device"
    ] * 2
    assert type_train(*sweep).code == 0
    assert all(run.read_summary().evaluation for run in runs)
    assert [run.read_summary().reason for run in runs] == [None] * 2
    assert type_train(*sweep).err.count("is finished already") == 2


def test_a_job_that_hangs_is_ended_and_the_next_one_runs(tiny, type_train, tmp_path, monkeypatch):
    monkeypatch.setattr(limited_job, "COMMAND", ("sleep", "1000"))
    sweep = ["-m", *tiny, *SHORT, "seed=1,2", HERE]
    typed = type_train(*sweep, "sweep.job_minutes=0.001")
    assert typed.code == 1
    assert typed.err.splitlines()[:2] == [
        "job 0-seed=1 failed: ended after sweep.job_minutes=0.001",
        "job 1-seed=2 failed: ended after sweep.job_minutes=0.001",
    ]
    statuses = {name: row["status"] for name, row in table(tmp_path / "sweep").items()}
    assert statuses == {"0-seed=1": "failed", "1-seed=2": "failed"}


def test_a_job_with_a_limit_is_the_same_run_in_a_process_of_its_own(
    tiny, type_train, tmp_path, monkeypatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as this process: the bits depend on the threads
    job = [*tiny, *SHORT, "model.dropout=0.2"]
    sweep = ["-m", *job, "seed=1", HERE, "sweep.job_minutes=10"]
    assert type_train(*sweep).code == 0
    assert type_train(*job, "seed=1", "hydra.run.dir=alone").code == 0
    limited, alone = RunFolder(tmp_path / "sweep" / "0"), RunFolder(tmp_path / "alone")
    assert {**limited.read_config(), "run_dir": ""} == {**alone.read_config(), "run_dir": ""}
    ours, theirs = (read_checkpoint(run.last)["state_dict"] for run in (limited, alone))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert limited.read_summary().command == shlex.join(["python", "train.py", *sweep])


@pytest.mark.parametrize("minutes", ["0", "-1", "true", "soon", ".nan"])
def test_a_limit_that_is_not_a_time_is_refused(tiny, type_train, tmp_path, minutes):
    typed = type_train("-m", *tiny, HERE, f"sweep.job_minutes={minutes}")
    assert typed.code == 2
    assert typed.err.startswith("error: sweep.job_minutes must be above 0, or null for no limit")
    assert not (tmp_path / "sweep").exists()


def test_a_summary_of_a_job_names_its_own_overrides(tiny, type_train, tmp_path):
    type_train("-m", *tiny, *SHORT, "seed=1,2", HERE)
    summary = json.loads((tmp_path / "sweep" / "1-seed=2" / "summary.json").read_text())
    assert "seed=2" in summary["overrides"]
    report = (tmp_path / "sweep" / "report.md").read_text()
    assert "trainer.limit_train_batches=4 seed=2" in report


def test_a_job_of_a_named_sweep_is_made_again_alone(tiny, type_train, tmp_path):
    type_train("+sweep=seeds", *tiny, *SHORT, HERE)
    report = (tmp_path / "sweep" / "report.md").read_text()
    words = shlex.split(re.findall(r"^python train.py .*$", report, re.M)[0])
    assert {"+sweep=seeds", "hydra.mode=RUN"} < set(words)
    assert {"seed=1", "seed=2", "seed=3"} & set(words)
