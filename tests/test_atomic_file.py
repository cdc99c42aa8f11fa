"""A file is replaced whole, or stays as it was."""

import errno
import os

import pytest

from minigpt.atomic_file import replace_file, write_file
from minigpt.errors import UserError


def test_the_new_content_takes_the_place_of_the_old(tmp_path):
    path = tmp_path / "new" / "file"
    write_file(path, "first")
    write_file(path, b"second")
    assert path.read_text() == "second"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_an_error_half_way_keeps_the_old_content_and_leaves_nothing(tmp_path):
    path = tmp_path / "file"
    write_file(path, "old")

    def write_half():
        with replace_file(path) as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_disk_that_refuses_is_one_line_that_names_the_file(tmp_path, code, wrapped):
    path = tmp_path / "file"
    write_file(path, "old")

    def fail():
        error = OSError(code, os.strerror(code))
        if wrapped:  # as torch.save does
            raise RuntimeError("unexpected pos 64 vs 0") from error
        raise error

    with pytest.raises(UserError) as refused, replace_file(path):
        fail()
    assert str(refused.value).startswith(f"cannot write {path}: {os.strerror(code)}; free some")
    assert path.read_text() == "old"


def test_a_disk_error_that_a_library_in_rust_wraps_is_one_line_too(tmp_path):
    class WrappedError(Exception):
        pass

    full = "file: No space left on device; free some"
    with pytest.raises(UserError, match=full), replace_file(tmp_path / "file"):
        raise WrappedError("Error while serializing: I/O error: ... (os error 28)")
    with pytest.raises(WrappedError, match="another"), replace_file(tmp_path / "file"):
        raise WrappedError("another")


def test_an_error_that_is_not_of_the_disk_stays_itself(tmp_path):
    with pytest.raises(RuntimeError, match="another"), replace_file(tmp_path / "file"):
        raise RuntimeError("another")
