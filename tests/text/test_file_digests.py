"""A file is hashed once, and again when it may have changed."""

import hashlib
import json
import os

import pytest

from minigpt.errors import UserError
from minigpt.text import file_digests
from minigpt.text.file_digests import FileDigests, TextChangedError


@pytest.fixture
def count_hashes(monkeypatch):
    hashed = []
    digest = hashlib.file_digest

    def counted(file, name):
        hashed.append(file.name)
        return digest(file, name)

    monkeypatch.setattr(hashlib, "file_digest", counted)
    return hashed


def sha256(cache, path):
    with FileDigests(cache) as digests:
        return digests.sha256(path)


def test_a_file_that_has_not_changed_is_not_read_again(tmp_path, count_hashes, monkeypatch):
    monkeypatch.setattr(file_digests, "UNSETTLED_NS", -1)
    path, cache = tmp_path / "a", tmp_path / "digests.json"
    path.write_bytes(b"one")
    assert sha256(cache, path) == sha256(cache, path) == hashlib.sha256(b"one").hexdigest()
    assert len(count_hashes) == 1
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path.write_bytes(b"two")
    os.utime(path, ns=times)  # size and modification time as before; the status change is not
    assert sha256(cache, path) == hashlib.sha256(b"two").hexdigest()


def test_a_file_just_written_is_not_remembered(tmp_path, count_hashes):
    (tmp_path / "a").write_bytes(b"one")
    sha256(tmp_path / "digests.json", tmp_path / "a")
    sha256(tmp_path / "digests.json", tmp_path / "a")
    assert len(count_hashes) == 2


def test_a_broken_cache_and_one_that_cannot_be_written_cost_only_time(tmp_path, monkeypatch):
    monkeypatch.setattr(file_digests, "UNSETTLED_NS", -1)
    (tmp_path / "a").write_bytes(b"one")
    key = str((tmp_path / "a").resolve())
    for broken in ("{", "[]", json.dumps({key: 3}), json.dumps({key: [1, 2]})):
        (tmp_path / "digests.json").write_text(broken)
        found = sha256(tmp_path / "digests.json", tmp_path / "a")
        assert found == hashlib.sha256(b"one").hexdigest()
    assert sha256(tmp_path / "none" / "digests.json", tmp_path / "a") == found


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="folder: cannot be read .Is a directory"):
        sha256(tmp_path / "digests.json", tmp_path / "folder")


def test_a_file_that_was_overwritten_and_put_back_is_found(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"one")
    digests = FileDigests(tmp_path / "digests.json")
    digests.sha256(path)
    digests.check_unchanged()
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    while path.stat().st_ctime_ns == digests.watch(path)[2]:  # the clock of times is coarse
        path.write_bytes(b"two")
        path.write_bytes(b"one")
    os.utime(path, ns=times)
    with pytest.raises(TextChangedError, match="/a was changed while it was read, so nothing is"):
        digests.check_unchanged()


def test_a_file_that_is_gone_has_changed(tmp_path):
    (tmp_path / "a").write_bytes(b"one")
    digests = FileDigests(tmp_path / "digests.json")
    digests.sha256(tmp_path / "a")
    (tmp_path / "a").unlink()
    with pytest.raises(TextChangedError, match="/a was changed while it was read"):
        digests.check_unchanged()


def test_a_file_that_is_added_to_a_watched_folder_changes_it(tmp_path):
    (tmp_path / "folder").mkdir()
    digests = FileDigests(tmp_path / "digests.json")
    stamp = digests.watch(tmp_path / "folder")
    (tmp_path / "folder" / "a").write_bytes(b"one")
    while (tmp_path / "folder").stat().st_ctime_ns == stamp[2]:  # the clock of times is coarse
        (tmp_path / "folder" / "a").rename(tmp_path / "folder" / "b")
        (tmp_path / "folder" / "b").rename(tmp_path / "folder" / "a")
    with pytest.raises(TextChangedError, match="folder was changed"):
        digests.check_unchanged()
