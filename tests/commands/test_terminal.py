"""What reads the output decides nothing about the run."""

import os
import resource
import signal
import subprocess
import sys

import pytest

from minigpt.runs.run_folder import RunFolder
from minigpt.runs.summary import Status
from tests.conftest import REPOSITORY

TRAIN = [sys.executable, str(REPOSITORY / "train.py")]
SHORT = ["trainer.max_epochs=1", "trainer.limit_train_batches=3", "hydra.run.dir=run"]


def status(tmp_path):
    return RunFolder(tmp_path / "run").read_summary().status


@pytest.mark.parametrize("merged", [False, True])
def test_a_run_whose_output_nobody_reads_trains_on_in_silence(tiny, tmp_path, merged):
    reader, writer = os.pipe()
    os.close(reader)  # as head does once it has its line
    done = subprocess.run(
        [*TRAIN, *tiny, *SHORT], cwd=tmp_path, stdout=writer, check=False,
        stderr=writer if merged else subprocess.PIPE,
    )  # fmt: skip
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, None if merged else b"")
    assert status(tmp_path) is Status.FINISHED


def test_help_into_a_closed_pipe_is_silent(tmp_path):
    for command in ([*TRAIN, "--help"], [sys.executable, "-m", "minigpt.commands.main", "check"]):
        reader, writer = os.pipe()
        os.close(reader)
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, stdout=writer, stderr=subprocess.PIPE,
            check=False,
        )  # fmt: skip
        os.close(writer)
        assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_text_that_a_terminal_cannot_show_is_replaced(corpus, tiny, tmp_path, encoding):
    for path in corpus.iterdir():
        path.write_text("日本語 はな 日本語 はな " * 4 + path.name, "utf-8")
    done = subprocess.run(
        [*TRAIN, *tiny, *SHORT], cwd=tmp_path, capture_output=True, check=False,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    (sample,) = [line for line in done.stdout.splitlines() if line.startswith(b"sample")]
    assert b"?" in sample


def test_a_full_disk_is_one_line_and_the_old_checkpoint_stays(tiny, tmp_path):
    words = [*tiny, *SHORT, "logger=none", "~callbacks.progress"]
    assert subprocess.run([*TRAIN, *words], cwd=tmp_path, check=False,
                          stdout=subprocess.DEVNULL).returncode == 0  # fmt: skip
    old = RunFolder(tmp_path / "run").last.read_bytes()

    def limit_files():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(old) // 2, len(old) // 2))

    done = subprocess.run(
        [*TRAIN, "resume=run", "trainer.max_epochs=2"], cwd=tmp_path, preexec_fn=limit_files,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot write ")
    assert "File too large; free some space" in done.stderr
    assert done.stderr.count("\n") == 1
    assert RunFolder(tmp_path / "run").last.read_bytes() == old
    assert status(tmp_path) is Status.FAILED
