"""A checkpoint file is whole or not there, and nothing in it is executed."""

import pickle

import pytest
import torch

from minigpt.errors import UserError
from minigpt.runs.checkpoints import (
    DurableCheckpointIO,
    check_resumable,
    find_checkpoint,
    read_checkpoint,
)

CONTENT = {
    "hyper_parameters": {
        "model": {"n_embd": 4},
        "tokenizer": {"name": "char"},
        "data": {"text": "abc", "batch_size": 4},
        "seed": 1,
    },
    "loops": {"fit_loop": {"epoch_progress": {"current": {"processed": 2}}}},
}


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
        with pytest.raises(UserError, match="bad.ckpt is no readable checkpoint "):
            read_checkpoint(path)
    torch.save({"state_dict": {}}, path)
    with pytest.raises(UserError, match="is no minigpt checkpoint: it names no model"):
        read_checkpoint(path)
    assert "executed" not in capsys.readouterr().out


def test_a_run_folder_stands_for_its_checkpoint(tmp_path):
    with pytest.raises(UserError, match="is no run folder with a last checkpoint"):
        find_checkpoint(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").touch()
    assert find_checkpoint(tmp_path).name == "last.ckpt"
    assert find_checkpoint(tmp_path / "other.ckpt") == tmp_path / "other.ckpt"


def test_what_would_not_go_on_exactly_is_refused(tmp_path):
    path = tmp_path / "last.ckpt"
    torch.save(CONTENT, path)
    same = CONTENT["hyper_parameters"]
    check_resumable(path, same, max_epochs=2)
    check_resumable(path, same, max_epochs=-1)
    for change, message in [
        ({"model": {"n_embd": 8}}, "has model.n_embd=4, this run asks for 8"),
        ({"tokenizer": {"name": "gpt2"}}, "has tokenizer.name=char, this run asks for gpt2"),
        ({"data": {"text": "abd", "batch_size": 4}}, "has data.text=abc"),
        ({"data": {"text": "abc", "batch_size": 8}}, "has data.batch_size=4"),
        ({"seed": 2}, "has seed=1, this run asks for 2"),
    ]:
        with pytest.raises(UserError, match=f"resume: the checkpoint {message}"):
            check_resumable(path, {**same, **change}, max_epochs=2)
    with pytest.raises(UserError, match="trainer.max_epochs=1: the run to resume has 2 epochs"):
        check_resumable(path, same, max_epochs=1)
