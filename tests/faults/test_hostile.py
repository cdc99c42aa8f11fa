"""What a stranger left executes nothing, shows no secret and takes no memory beyond its files."""

import os
import re

import pytest

from minigpt.shown_text import shown
from tests.faults.harness import start_again
from tests.faults.hostile import ALL, EXPORT, FORMULA, PRIVATE, READERS, RESUME, SCRIPT, outside_of
from tests.faults.run_scenarios import Training

GOOD = Training("good", "~logger.tensorboard", "model.head_bias=false", "model.block_size=48")
MEMORY = 3 << 30  # beyond what the warm process has; a thread's stack and heap take address space
SECONDS = 30


@pytest.fixture(scope="module")
def good(warm, tmp_path_factory):
    """A folder with a run, its store, and an export of it."""
    before = tmp_path_factory.mktemp("before")
    GOOD.prepare(before, warm)
    start_again(warm.folder, before)
    for words in (GOOD.words(warm.folder), EXPORT):
        ended = warm.run(words, forked=True)
        assert ended.code == 0, ended.err
    (store,) = (warm.folder / "tokens").glob("files-*")
    (warm.folder / "store").symlink_to(store.relative_to(warm.folder))
    start_again(folder := tmp_path_factory.mktemp("good") / "folder", warm.folder)
    private = outside_of(warm.folder) / "notes" / "private.txt"
    private.parent.mkdir(parents=True)
    private.write_text(f"{PRIVATE}\n" * 100)
    (outside_of(warm.folder) / "bucket").mkdir()
    os.utime(private, (1, 1))  # a cache makes room by deleting what is old
    return folder


def files_in(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def run_words(warm, words):
    words = [word.format(folder=warm.folder) for word in words]
    before = files_in(outside := outside_of(warm.folder))
    ended = warm.run(words, limits={"RLIMIT_AS": MEMORY}, seconds=SECONDS)
    assert files_in(outside) == before, words
    return ended


def assert_silent(warm, ended, where):
    assert ended.code is not None, f"{where} hangs"
    assert ended.code in (0, 1, 2), f"{where}: exit code {ended.code}: {ended.err[-2000:]}"
    said = ended.out + ended.err
    assert "Traceback" not in said, f"{where}: {said[-3000:]}"
    assert not list(warm.folder.rglob("canary")), where
    assert not os.path.lexists("/dev/shm/canary"), where
    secrets = (os.environ["PATH"], PRIVATE)
    assert not any(secret in said for secret in secrets), where
    assert said == shown(said) or "\x1b]0;canary" not in said, where
    for path, content in files_in(warm.folder).items():
        if content is not None and not path.is_symlink():
            assert not any(secret.encode() in content for secret in secrets), (where, path)
    for page in warm.folder.rglob("*.html"):
        assert SCRIPT not in page.read_text("utf-8", "replace"), where
    for table in warm.folder.rglob("*.csv"):
        if table.name == "runs.csv":
            assert not re.search(r'(^|,)"?' + re.escape(FORMULA), table.read_text(), re.M), where


@pytest.mark.parametrize("hostile", ALL, ids=lambda hostile: hostile.name)
def test_no_canary_sings(warm, good, hostile):
    for words in hostile.commands:
        start_again(warm.folder, good)
        hostile.arrange(warm.folder)
        ended = run_words(warm, words)
        where = f"{hostile.name}: {' '.join(words)}"
        assert_silent(warm, ended, where)
        if hostile.refused:
            assert ended.code != 0, where
            assert ended.err.splitlines()[-1].startswith("error: "), where


@pytest.mark.soak
@pytest.mark.parametrize("hostile", ALL, ids=lambda hostile: hostile.name)
def test_no_canary_sings_in_any_command_that_reads_a_run(warm, good, hostile):
    for words in {*READERS, *hostile.commands}:
        start_again(warm.folder, good)
        hostile.arrange(warm.folder)
        assert_silent(warm, run_words(warm, words), f"{hostile.name}: {' '.join(words)}")


def test_the_good_folder_can_be_read(warm, good):
    """Otherwise everything above would be refused for another reason."""
    for words in READERS:
        start_again(warm.folder, good)
        ended = run_words(warm, words)
        assert ended.code == 0, (words, ended.err)
    assert RESUME in READERS
