"""A checkpoint file is whole or not there, and nothing in it is executed."""

import pickle

import pytest
import torch

from minigpt.errors import UserError
from minigpt.training.checkpoint import (
    DurableCheckpointIO,
    check_resumable,
    find_checkpoint,
    read_checkpoint,
)

CONTENT = {"hyper_parameters": {"model": {"n_embd": 4}, "tokenizer": {"name": "char"}}}


def test_a_checkpoint_replaces_the_old_one_in_one_move(tmp_path, monkeypatch):
    path = tmp_path / "new" / "last.ckpt"
    DurableCheckpointIO().save_checkpoint({**CONTENT, "x": 1}, path)
    assert read_checkpoint(path)["x"] == 1
    assert [p.name for p in path.parent.iterdir()] == ["last.ckpt"]

    def half(content, file):
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="No space left"):
        DurableCheckpointIO().save_checkpoint({**CONTENT, "x": 2}, path)
    monkeypatch.undo()
    assert read_checkpoint(path)["x"] == 1
    assert [p.name for p in path.parent.iterdir()] == ["last.ckpt"]


class Harmful:
    def __reduce__(self):
        return (print, ("executed",))


def test_what_is_no_checkpoint_is_refused_and_not_executed(tmp_path, capsys):
    path = tmp_path / "bad.ckpt"
    with pytest.raises(UserError, match="no such checkpoint: .*bad.ckpt"):
        read_checkpoint(path)
    for content in (b"", b"text", pickle.dumps(Harmful())):
        path.write_bytes(content)
        with pytest.raises(UserError, match="bad.ckpt is no readable checkpoint: "):
            read_checkpoint(path)
    torch.save({"state_dict": {}}, path)
    with pytest.raises(UserError, match="is no minigpt checkpoint: it names no model"):
        read_checkpoint(path)
    assert "executed" not in capsys.readouterr().out


def test_a_run_folder_stands_for_its_checkpoint(tmp_path):
    with pytest.raises(UserError, match="is no run folder with a checkpoint"):
        find_checkpoint(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").touch()
    assert find_checkpoint(tmp_path).name == "last.ckpt"
    assert find_checkpoint(tmp_path / "other.ckpt") == tmp_path / "other.ckpt"


def test_another_network_or_tokenizer_is_refused(tmp_path):
    path = tmp_path / "last.ckpt"
    torch.save(CONTENT, path)
    check_resumable(path, CONTENT["hyper_parameters"])
    for section, key, message in [
        ("model", "n_embd", "resume: the checkpoint has model.n_embd=4, this run asks for 8"),
        ("tokenizer", "name", "resume: the checkpoint has tokenizer.name=char"),
    ]:
        asked = {k: dict(v) for k, v in CONTENT["hyper_parameters"].items()}
        asked[section][key] = 8
        with pytest.raises(UserError, match=message):
            check_resumable(path, asked)
