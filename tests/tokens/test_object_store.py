"""Token stores at a URL: the same batches, copied as they are needed, or refused in one line."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from minigpt.batches.blocks import Blocks
from minigpt.errors import UserError
from minigpt.tokens import shard_cache
from minigpt.tokens.manifest import MANIFEST
from minigpt.tokens.object_store import RemoteFolder, explain_url_errors
from minigpt.tokens.prepare import prepare
from minigpt.tokens.shard_cache import ShardCache
from minigpt.tokens.split import SPLITS
from minigpt.tokens.store import open_remote_store
from minigpt.tokens.writer import PART_TOKENS
from tests.conftest import REPOSITORY
from tests.s3 import bucket

LARGE = 10**9
__all__ = ["bucket"]


@pytest.fixture
def store(data, corpus):
    return prepare(data(files=[f"{corpus}/*.txt"], val_fraction=0.2, test_fraction=0.2)).store


def copied(folder: Path) -> set[str]:
    """The files of a cached store that are there whole."""
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def test_a_store_in_a_bucket_gives_the_batches_of_the_local_one(store, bucket, tmp_path):
    RemoteFolder(f"{bucket}/mine").upload(store.folder)
    remote = open_remote_store(f"{bucket}/mine", tmp_path / "cache", LARGE)
    assert remote.manifest == store.manifest
    assert copied(remote.folder) == {MANIFEST}  # nothing else was copied to open it
    for split in SPLITS:
        ours, theirs = remote.tokens(split), store.tokens(split)
        assert len(ours) == len(theirs)
        starts = np.array([3, 40, 0])
        assert (ours.rows(starts, 17) == theirs.rows(starts, 17)).all()
        assert (ours[:] == theirs[:]).all()
        assert list(remote.documents(split)) == list(store.documents(split))
    assert remote.verify() == []
    assert copied(remote.folder) == copied(store.folder)
    blocks = [Blocks(each.tokens("train"), 16, 16, -100) for each in (remote, store)]
    batches = [each.batch(np.arange(9)) for each in blocks]
    assert all((ours == theirs).all() for ours, theirs in zip(*batches, strict=True))


def test_a_run_trains_from_a_bucket_as_from_a_folder(tiny, type_train, bucket, tmp_path):
    same = [*tiny, "trainer.max_epochs=1", "trainer.limit_train_batches=3"]
    at_bucket = [*same, f"data.root={bucket}/stores", f"data.cache={tmp_path}/cache"]
    assert type_train(*same, "name=local").code == 0
    for name in ("first", "second"):  # which makes the store, and which finds it
        typed = type_train(*at_bucket, f"name={name}")
        assert (typed.code, typed.err) == (0, "")
        shutil.rmtree(tmp_path / "cache")
    local, *others = (
        (next((tmp_path / "outputs" / name).iterdir()) / "metrics.csv").read_text().splitlines()
        for name in ("local", "first", "second")
    )
    timed = local[0].split(",").index("tokens_per_second")
    for other in others:
        for row, expected in zip(other, local, strict=True):
            cells, wanted = row.split(","), expected.split(",")
            assert cells[:timed] + cells[timed + 1 :] == wanted[:timed] + wanted[timed + 1 :]


def test_a_store_that_changes_is_not_taken_for_the_copy(store, data, corpus, tmp_path):
    url = f"file://{tmp_path}/there"
    RemoteFolder(url).upload(store.folder)
    remote = open_remote_store(url, tmp_path / "cache", LARGE)
    ids = remote.tokens("train")[:]
    other = prepare(data(files=[f"{corpus}/1*.txt"], val_fraction=0.2, test_fraction=0.2)).store
    shutil.rmtree(tmp_path / "there")
    RemoteFolder(url).upload(other.folder)
    changed = open_remote_store(url, tmp_path / "cache", LARGE)
    assert changed.folder != remote.folder
    assert len(changed.tokens("train")) == len(other.tokens("train")) < len(ids)
    shard = tmp_path / "there" / "train-00000.bin"
    content = bytearray(shard.read_bytes())
    content[5] ^= 1
    shard.write_bytes(content)
    with pytest.raises(UserError, match=r"train-00000.bin is not the file that its manifest name"):
        changed.verify()
    assert "train-00000.bin" not in copied(changed.folder)
    shard.write_bytes(content[:-2])
    with pytest.raises(UserError, match="the store was changed or is damaged"):
        open_remote_store(url, tmp_path / "cache", LARGE)


def test_room_is_made_among_copies_only(store, tmp_path):
    other = tmp_path / "cache" / "thesis" / "chapters" / "train-1.tex"
    other.parent.mkdir(parents=True)
    other.write_text("three years of work")
    os.utime(other, (1, 1))
    shard = store.manifest.shards["train"][0]
    cache = ShardCache(RemoteFolder(f"file://{store.folder}"), tmp_path / "cache", 1)
    with pytest.raises(UserError, match=r"data.cache_bytes=1 leaves no room for train-00000.bin"):
        cache.fetch("train-00000.bin", shard["sha256"], 2 * shard["tokens"])
    assert other.exists()


def test_the_cache_keeps_its_size_and_what_was_opened_last(store, tmp_path):
    urls = []
    for number in range(3):  # the same store thrice, as three
        there = tmp_path / f"there{number}"
        shutil.copytree(store.folder, there)
        manifest = there / MANIFEST
        manifest.write_text(manifest.read_text() + "\n" * number)
        urls.append(f"file://{there}")
    shard = store.manifest.shards["train"][0]
    size = 2 * shard["tokens"]
    folders = []
    for number, url in enumerate(urls):
        cache = ShardCache(RemoteFolder(url), tmp_path / "cache", 2 * size + 10)
        if number < 2:
            path = cache.fetch("train-00000.bin", shard["sha256"], size)
            long_ago = time.time() - 2 * shard_cache.IN_USE_SECONDS + number
            os.utime(path, (long_ago, long_ago))
        else:
            cache.fetch("train-00000.bin", shard["sha256"], size)
        folders.append(cache.folder)
    assert ["train-00000.bin" in copied(folder) for folder in folders] == [False, True, True]
    tight = ShardCache(RemoteFolder(urls[0]), tmp_path / "other", size - 1)
    with pytest.raises(UserError, match=f"data.cache_bytes={size - 1} leaves no room for train"):
        tight.fetch("train-00000.bin", shard["sha256"], size)
    # Reading goes on without a copy.
    remote = open_remote_store(urls[0], tmp_path / "other", size - 1)
    assert (remote.tokens("train")[:] == store.tokens("train")[:]).all()


COPY = """
import sys
from pathlib import Path
from minigpt.tokens.object_store import RemoteFolder
from minigpt.tokens.shard_cache import ShardCache
url, root, name, sha256, size, slow = sys.argv[1:]
cache = ShardCache(RemoteFolder(url), Path(root), 10**9)
if slow == "slow":
    original = RemoteFolder.copy_to
    def copy_to(self, name, target, sha256):
        target.with_name(f".{target.name}.begun.partial").write_bytes(b"half")
        print("copying", flush=True)
        sys.stdin.read()
    RemoteFolder.copy_to = copy_to
cache.fetch(name, sha256, int(size))
print("copied", flush=True)
"""


def test_a_kill_in_mid_copy_leaves_no_half_file_and_no_lock(store, tmp_path):
    shard = store.manifest.shards["train"][0]
    words = [f"file://{store.folder}", str(tmp_path / "cache"), "train-00000.bin", shard["sha256"],
             str(2 * shard["tokens"])]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    killed = subprocess.Popen(
        [sys.executable, "-c", COPY, *words, "slow"],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert killed.stdout.readline() == "copying\n"
    waiting = subprocess.Popen(  # for the lock
        [sys.executable, "-c", COPY, *words, "fast"],
        env=environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    (cached,) = (tmp_path / "cache").glob("*/*/")
    assert copied(cached) == {MANIFEST}
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert waiting.communicate(timeout=60)[0] == "copied\n"
    assert (cached / "train-00000.bin").read_bytes() == (
        store.folder / "train-00000.bin"
    ).read_bytes()


def test_copies_are_made_in_the_background_once(store, tmp_path, monkeypatch):
    url = f"file://{store.folder}"
    remote = open_remote_store(url, tmp_path / "cache", LARGE)
    made, done = [], threading.Event()
    original = RemoteFolder.copy_to

    def copy_to(self, name, target, sha256):
        original(self, name, target, sha256)
        made.append(name)
        done.set()

    monkeypatch.setattr(RemoteFolder, "copy_to", copy_to)
    tokens = remote.tokens("train")
    before = tokens.rows(np.array([0, 5]), 4)
    assert done.wait(30)
    assert (tokens.rows(np.array([0, 5]), 4) == before).all()
    assert made == ["train-00000.bin"]


def test_a_full_disk_is_not_taken_for_a_fault_of_the_network(store, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    remote = open_remote_store(f"file://{store.folder}", tmp_path / "cache", LARGE)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"^cannot write .*: No space left on device; free some"):
        next(remote.documents("train"))
    assert copied(remote.folder) == {MANIFEST}


def test_an_error_without_a_word_is_one_line():
    with (
        pytest.raises(UserError, match="^s3://tokens/x: TimeoutError; check the network$"),
        explain_url_errors("s3://tokens/x"),
    ):
        raise TimeoutError


def test_a_copy_that_is_deleted_is_no_empty_file(store, tmp_path):
    remote = open_remote_store(f"file://{store.folder}", tmp_path / "cache", LARGE)
    assert remote.verify() == []
    (remote.folder / "train-00000.bin").unlink()
    assert (remote.tokens("train")[:] == store.tokens("train")[:]).all()
    assert remote.verify() == []  # it is copied again


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("foo://tokens/x", "foo://tokens/x: Protocol not known: foo"),
        ("file:///nowhere/x", "file:///nowhere/x/manifest.json is not there; check the bucket"),
    ],
)
def test_a_url_that_leads_nowhere_is_one_line(tmp_path, url, message):
    with pytest.raises(UserError) as raised:
        open_remote_store(url, tmp_path, LARGE)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def test_a_missing_bucket_and_missing_credentials_are_one_line(bucket, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="s3://other/x/manifest.json is not there; check the buck"):
        open_remote_store("s3://other/x", tmp_path, LARGE)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(UserError) as raised:
        open_remote_store(f"{bucket}/x", tmp_path, LARGE)
    assert "give your credentials" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_scheme_whose_package_is_missing_names_the_extra(tmp_path, monkeypatch):
    def refuse(url, **_):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", refuse)
    with pytest.raises(UserError, match=r"s3:// needs another package: pip install 'minigpt\[s3\]"):
        open_remote_store("s3://tokens/x", tmp_path, LARGE)
    with pytest.raises(UserError, match=r"gs:// needs another package: Install s3fs to access S3"):
        open_remote_store("gs://tokens/x", tmp_path, LARGE)


def test_a_part_is_small_enough_to_be_copied_while_training():
    assert 4 * PART_TOKENS < 100_000_000
