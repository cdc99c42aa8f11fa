"""A full, forbidden or vanished disk is one line with code 2, and the run goes on from there."""

import errno
import os
import shutil
import subprocess

import pytest

from minigpt.runs.run_folder import RunFolder
from minigpt.runs.summary import Status
from tests.faults.all_scenarios import BARE
from tests.faults.run_scenarios import Training, train_words
from tests.faults.warm_process import FOLDER

KB = 1024


@pytest.fixture
def tmpfs(warm):
    """Mounts a small file system over the folder; returns what changes its options."""
    shutil.rmtree(warm.folder, ignore_errors=True)
    warm.folder.mkdir()

    def mount(*options):
        words = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", warm.folder]
        if subprocess.run(words, check=False, capture_output=True).returncode:
            pytest.skip("this user may not mount a file system; the shim's ENOSPC stands for it")

    yield mount
    subprocess.run(["umount", warm.folder], check=False, capture_output=True)
    shutil.rmtree(warm.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def whole(warm, tmp_path_factory):
    """What an undisturbed run leaves."""
    begin(warm, tmp_path_factory.mktemp("whole"))
    ended = warm.run(BARE.words(warm.folder), forked=False)
    assert ended.code == 0, ended.err
    return BARE.content(warm.folder)


def begin(warm, tmp_path):
    before = tmp_path / "before"
    if not before.exists():
        before.mkdir()
        BARE.prepare(before, warm)
    shutil.rmtree(warm.folder, ignore_errors=True)  # what is mounted stays, and is empty
    shutil.copytree(before, warm.folder, dirs_exist_ok=True)


def assert_one_line(ended, reason):
    assert ended.code == 2, ended.err
    (line,) = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert ended.err.splitlines()[-1] == line
    assert os.strerror(reason) in line
    assert f"/{FOLDER}/" in line
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("kilobytes", [176, 212, 300])
def test_a_full_disk_is_one_line_and_with_more_room_the_run_ends_the_same(
    warm, whole, tmpfs, tmp_path, kilobytes
):
    tmpfs(f"size={kilobytes}k")
    begin(warm, tmp_path)
    assert_one_line(warm.run(BARE.words(warm.folder)), errno.ENOSPC)
    tmpfs("remount", "size=10m")
    ended = warm.run(BARE.again(warm.folder))
    assert (ended.code, BARE.content(warm.folder)) == (0, whole), ended.err


def test_a_read_only_disk_is_one_line(warm, tmpfs, tmp_path):
    tmpfs("size=10m")
    begin(warm, tmp_path)
    tmpfs("remount", "ro")
    assert_one_line(warm.run(BARE.words(warm.folder)), errno.EROFS)
    assert_one_line(warm.run(["minigpt", "prepare", *train_words(warm.folder)[:6]]), errno.EROFS)


@pytest.mark.parametrize("kilobytes", [1, 8])
def test_a_limit_on_files_is_one_line(warm, whole, tmp_path, kilobytes):
    begin(warm, tmp_path)
    ended = warm.run(BARE.words(warm.folder), limits={"RLIMIT_FSIZE": kilobytes * KB})
    assert_one_line(ended, errno.EFBIG)
    ended = warm.run(BARE.again(warm.folder))
    assert (ended.code, BARE.content(warm.folder)) == (0, whole), ended.err


@pytest.mark.parametrize("words", [[], ["~logger.tensorboard"], ["logger=none"]])
def test_a_folder_that_is_removed_in_mid_run_stays_removed(warm, tmp_path, words):
    begin(warm, tmp_path)
    ended = warm.run(["train_and_remove", *Training("", *words).words(warm.folder)[1:]])
    assert ended.code == 2, ended.err
    assert ended.err.splitlines()[-1].startswith("error: ")
    assert f"{warm.folder}/run" in ended.err
    assert ("Traceback" in ended.err, (warm.folder / "run").exists()) == (False, False)


@pytest.mark.parametrize("stream", ["out", "err"])
def test_a_run_whose_log_cannot_be_written_trains_on(warm, whole, tmp_path, stream):
    begin(warm, tmp_path)
    ended = warm.run(BARE.words(warm.folder), streams={stream: "/dev/full"})
    assert (ended.code, BARE.content(warm.folder)) == (0, whole)


def test_a_result_that_cannot_be_printed_is_an_error(warm, tmp_path):
    begin(warm, tmp_path)
    words = ["minigpt", "prepare", "--json", *train_words(warm.folder)[:6]]
    ended = warm.run(words, streams={"out": "/dev/full"})
    assert ended.code == 2
    assert "error: standard output: No space left on device" in ended.err


def test_a_killed_process_of_the_loader_ends_the_run_at_once(warm, tmp_path):
    begin(warm, tmp_path)
    words = [*BARE.words(warm.folder)[1:], "data.num_workers=2", "data.batch_size=4"]
    words += ["trainer.limit_train_batches=30"]  # more than are cut ahead
    ended = warm.run(["train_and_kill_worker", *words], seconds=10)
    assert ended.code == 2, ended.err
    assert ended.err.splitlines()[-1].startswith(
        "error: a process that cuts batches was killed from outside (pid "
    )
    assert "Traceback" not in ended.err
    run = RunFolder(warm.folder / "run").read_summary()
    assert run.status is Status.FAILED


def test_too_little_memory_is_one_line(warm, tmp_path):
    begin(warm, tmp_path)
    words = [*BARE.words(warm.folder), "model.n_embd=1024", "model.n_layer=4"]
    ended = warm.run(words, limits={"RLIMIT_AS": 100 * KB**2})
    assert ended.code == 2, ended.err
    assert ended.err.splitlines()[-1].startswith("error: there is not enough memory")
    assert "Traceback" not in ended.err
