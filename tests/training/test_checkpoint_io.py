"""A checkpoint replaces the old one whole, or the old one stays."""

import errno

import pytest
import torch

from minigpt.errors import UserError
from minigpt.runs.checkpoints import read_checkpoint
from minigpt.training.checkpoint_io import DurableCheckpointIO

CONTENT = {
    "hyper_parameters": {"model": {"n_embd": 4}, "tokenizer": {}, "data": {"text": "abc"}},
    "state_dict": {},
}


def test_a_checkpoint_replaces_the_old_one_in_one_move(tmp_path, monkeypatch):
    path = tmp_path / "new" / "last.ckpt"
    DurableCheckpointIO().save_checkpoint({**CONTENT, "x": 1}, path)
    assert read_checkpoint(path)["x"] == 1
    assert [p.name for p in path.parent.iterdir()] == ["last.ckpt"]

    def half(content, file):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(UserError, match="cannot write .*last.ckpt: No space left on device"):
        DurableCheckpointIO().save_checkpoint({**CONTENT, "x": 2}, path)
    monkeypatch.undo()
    assert read_checkpoint(path)["x"] == 1
    assert [p.name for p in path.parent.iterdir()] == ["last.ckpt"]
