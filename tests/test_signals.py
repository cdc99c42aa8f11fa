"""A signal ends a command at any time with 128 + its number, and nothing is lost."""

import os
import shlex
import signal
import subprocess
import sys

import pytest

from minigpt import signals
from minigpt.training.lit_gpt import LitGPT
from tests.conftest import REPOSITORY, run_folders
from tests.test_train import losses, same_weights, summary, weights

CODES = [("SIGTERM", 143), ("SIGINT", 130)]
SHORT = ["trainer.max_epochs=1", "trainer.limit_train_batches=4"]
SWEEP = [*SHORT, "seed=1,2,3", "hydra.sweep.dir=sweep"]
JOBS = ["0-seed=1", "1-seed=2", "2-seed=3"]


@pytest.fixture(autouse=True)
def hangup_ends_a_process():
    """Also where the tests run under nohup, which has it ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def signal_in(monkeypatch):
    """Has a method send this process a signal the first time that it is called and a test holds."""

    def arrange(target, method, name, condition=lambda *_: True):
        original = getattr(target, method)
        sent = []

        def sending(*arguments, **named):
            if not sent and condition(*arguments):
                sent.append(name)
                os.kill(os.getpid(), getattr(signal, name))
            return original(*arguments, **named)

        monkeypatch.setattr(target, method, sending)

    return arrange


def jobs(tmp_path):
    return sorted(path.name for path in (tmp_path / "sweep").iterdir() if path.is_dir())


@pytest.mark.parametrize(("name", "code"), CODES)
def test_a_signal_in_the_last_validation_saves_and_stops(
    tiny, type_train, tmp_path, signal_in, name, code
):
    assert type_train(*tiny, "hydra.run.dir=whole").code == 0
    signal_in(LitGPT, "validation_step", name, lambda lit, *_: lit.global_step == 38)
    typed = type_train(*tiny, "hydra.run.dir=parts")
    assert typed.code == code
    assert typed.err == "stopped; continue with: python train.py resume=parts\n"
    stopped, whole = summary(tmp_path / "parts"), summary(tmp_path / "whole")
    assert (stopped["status"], stopped["steps"], stopped["test"]) == ("interrupted", 38, None)
    assert stopped["best"] == whole["best"]
    assert type_train("resume=parts").code == 0
    assert summary(tmp_path / "parts")["test"] == whole["test"]
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert same_weights(weights(tmp_path / "parts"), weights(tmp_path / "whole"))


@pytest.mark.parametrize(
    ("name", "code", "method"), [("SIGTERM", 143, "validation_step"), ("SIGINT", 130, "test_step")]
)
def test_a_signal_in_a_jobs_validation_or_test_stops_the_sweep(
    tiny, type_train, tmp_path, signal_in, name, code, method
):
    signal_in(LitGPT, method, name, lambda lit, *_: lit.seed == 2)
    typed = type_train("-m", *tiny, *SWEEP)
    assert typed.code == code
    command = shlex.join(["python", "train.py", "-m", *tiny, *SWEEP])
    assert typed.err == f"stopped; continue the sweep with: {command}\n"
    assert jobs(tmp_path) == JOBS[:2]
    assert not (tmp_path / "sweep" / "report.html").exists()
    assert summary(tmp_path / "sweep" / JOBS[1])["status"] == "interrupted"
    typed = type_train("-m", *tiny, *SWEEP)
    assert (typed.code, typed.err) == (0, f"job {JOBS[0]} is finished already\n")
    assert jobs(tmp_path) == JOBS
    assert all(summary(tmp_path / "sweep" / job)["test"] for job in JOBS)
    assert len(summary(tmp_path / "sweep" / JOBS[1])["resumed_by"]) == 1


@pytest.mark.parametrize(("name", "code"), CODES)
def test_a_signal_in_the_test_is_taken_up_again(tiny, type_train, tmp_path, signal_in, name, code):
    assert type_train(*tiny, *SHORT, "hydra.run.dir=whole").code == 0
    signal_in(LitGPT, "test_step", name)
    typed = type_train(*tiny, *SHORT, "hydra.run.dir=parts")
    assert typed.code == code
    assert typed.err == "stopped; continue with: python train.py resume=parts\n"
    stopped = summary(tmp_path / "parts")
    assert (stopped["status"], stopped["steps"], stopped["test"]) == ("interrupted", 4, None)
    assert type_train("resume=parts").code == 0
    for key in ("status", "steps", "test", "best", "tokens_seen"):
        assert summary(tmp_path / "parts")[key] == summary(tmp_path / "whole")[key], key


@pytest.mark.parametrize(("name", "code"), CODES)
def test_a_signal_in_the_evaluation_is_taken_up_again(
    tiny, type_train, tmp_path, signal_in, name, code
):
    from minigpt.evaluation.windows import Scorer

    assert type_train(*tiny, *SHORT, "hydra.run.dir=whole").code == 0
    signal_in(Scorer, "_score_batch", name)
    typed = type_train(*tiny, *SHORT, "hydra.run.dir=parts")
    assert typed.code == code
    assert typed.err == "stopped; continue with: python train.py resume=parts\n"
    stopped, whole = summary(tmp_path / "parts"), summary(tmp_path / "whole")
    assert (stopped["status"], stopped["evaluation"]) == ("interrupted", {})
    assert stopped["test"] == whole["test"]
    assert type_train("resume=parts").code == 0
    for key in ("status", "steps", "test", "best", "evaluation"):
        assert summary(tmp_path / "parts")[key] == whole[key], key


def test_a_signal_in_a_jobs_evaluation_stops_the_sweep(tiny, type_train, tmp_path, signal_in):
    from minigpt.evaluation.windows import Scorer

    signal_in(Scorer, "_score_batch", "SIGTERM")
    assert type_train("-m", *tiny, *SWEEP).code == 143
    assert jobs(tmp_path) == JOBS[:1]
    assert type_train("-m", *tiny, *SWEEP).code == 0
    assert all(summary(tmp_path / "sweep" / job)["evaluation"] for job in JOBS)


@pytest.mark.parametrize(("name", "code"), CODES)
def test_a_signal_while_the_report_of_a_sweep_is_made(
    tiny, type_train, tmp_path, signal_in, name, code
):
    import minigpt.reports.comparison

    signal_in(minigpt.reports.comparison, "runs_csv", name)
    typed = type_train("-m", *tiny, *SWEEP)
    assert typed.code == code
    command = shlex.join(["python", "train.py", "-m", *tiny, *SWEEP])
    assert typed.err == f"stopped; make the report with: {command}\n"
    assert type_train("-m", *tiny, *SWEEP).code == 0
    assert (tmp_path / "sweep" / "report.html").exists()


@pytest.mark.parametrize(("name", "code"), [*CODES, ("SIGHUP", 129), ("SIGUSR1", 138)])
def test_a_signal_before_training_leaves_no_run(tiny, type_train, tmp_path, signal_in, name, code):
    import minigpt.training.build

    signal_in(minigpt.training.build, "build_data", name)
    typed = type_train(*tiny)
    assert (typed.code, typed.err) == (code, "stopped\n")
    assert run_folders(tmp_path) == []


def test_a_signal_without_the_callback_stops_at_once(tiny, type_train, tmp_path, signal_in):
    signal_in(LitGPT, "training_step", "SIGTERM", lambda lit, *_: lit.global_step == 21)
    typed = type_train(*tiny, "~callbacks.interruption", "hydra.run.dir=run")
    assert typed.code == 143
    assert typed.err == "stopped; continue with: python train.py resume=run\n"
    assert summary(tmp_path / "run")["status"] == "interrupted"


def test_a_second_signal_ends_the_process_at_once(tiny, tmp_path):
    code = (
        "import os, signal\n"
        "from minigpt.commands.train import main\n"
        "from minigpt.training.lit_gpt import LitGPT\n"
        "def validation_step(self, batch, i):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "LitGPT.validation_step = validation_step\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *tiny, "hydra.run.dir=run"], cwd=tmp_path, check=False,
        capture_output=True, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert done.returncode == -signal.SIGTERM


def test_the_handlers_from_before_come_back():
    before = [signal.getsignal(signum) for signum in signals.SIGNALS]
    with signals.stop_signals():
        assert [signal.getsignal(signum) for signum in signals.SIGNALS] != before
        with signals.stop_signals():
            pass
        assert [signal.getsignal(signum) for signum in signals.SIGNALS] != before
    assert [signal.getsignal(signum) for signum in signals.SIGNALS] == before


def test_a_held_signal_waits_until_it_is_released():
    with signals.stop_signals():
        signals.hold()
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.received() == signal.SIGINT
        with pytest.raises(signals.Interrupted) as stop:
            signals.release()
    assert stop.value.code == 130
    with signals.stop_signals():
        assert signals.received() == 0


def test_a_notice_that_comes_twice_and_the_signal_after_it_leave_time_to_save():
    with signals.stop_signals():
        signals.hold()
        for signum in (signal.SIGUSR1, signal.SIGUSR1, signal.SIGTERM):
            os.kill(os.getpid(), signum)
        assert signals.received() == signal.SIGUSR1
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL  # a second one ends the process
        with pytest.raises(signals.Interrupted) as stop:
            signals.release()
    assert stop.value.code == 138


def test_a_job_that_its_launcher_requeues_stops_at_that_signal_and_not_at_sigterm(monkeypatch):
    monkeypatch.setenv(signals.REQUEUED_AT, str(int(signal.SIGUSR2)))
    with signals.stop_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.received() == 0
        with pytest.raises(signals.Interrupted) as stop:
            os.kill(os.getpid(), signal.SIGUSR2)
    assert stop.value.signum == signal.SIGUSR2


def test_under_nohup_the_terminal_may_go():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.stop_signals():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signals.received() == 0
    finally:
        signal.signal(signal.SIGHUP, before)
