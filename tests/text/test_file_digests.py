"""A file is hashed once, and again when it may have changed."""

import hashlib
import json
import os

import pytest

from minigpt.errors import UserError
from minigpt.text import file_digests
from minigpt.text.file_digests import FileDigests


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
