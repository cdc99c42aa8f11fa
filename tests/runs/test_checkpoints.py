"""A checkpoint file is whole or not there, and nothing in it is executed."""

import pickle
import tracemalloc

import pytest
import torch

from minigpt.errors import UserError
from minigpt.runs.checkpoints import (
    check_resumable,
    checkpoint_to_resume,
    find_checkpoint,
    read_checkpoint,
)
from minigpt.runs.run_folder import RunFolder
from tests.faults.hostile import archive_of, bytearray_of

CONTENT = {
    "hyper_parameters": {
        "model": {"n_embd": 4},
        "tokenizer": {"name": "char"},
        "data": {"text": "abc", "batch_size": 4},
        "seed": 1,
    },
    "loops": {"fit_loop": {"epoch_progress": {"current": {"processed": 2}}}},
}


class Harmful:
    def __reduce__(self):
        return (print, ("executed",))


def test_what_is_no_checkpoint_is_refused_and_not_executed(tmp_path, capsys):
    path = tmp_path / "bad.ckpt"
    with pytest.raises(UserError, match="no such checkpoint: .*bad.ckpt"):
        read_checkpoint(path)
    for content in (b"", b"text", pickle.dumps(Harmful())):
        path.write_bytes(content)
        with pytest.raises(UserError, match="bad.ckpt is not a readable checkpoint "):
            read_checkpoint(path)
    assert "executed" not in capsys.readouterr().out


CALL = b"c_codecs\nencode\n"
TEXT_THAT_DOUBLES = (
    b"\x80\x02" + 28 * CALL + b"X\x04\x00\x00\x00abcd" + 28 * b"X\x03\x00\x00\x00hex\x86R" + b"."
)
MEMORY = b"\x80\x02ctorch.storage\nUntypedStorage\nJ\x00\x00\x00\x10\x85R."


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        # torch reads it as data.pkl, and would make a bytearray of a gigabyte.
        (archive_of(bytearray_of(10**9), "archive/DATA.PKL"), "it has a record archive/DATA.PKL"),
        (archive_of(bytearray_of(10**9)), "it names builtins.bytearray"),
        (archive_of(TEXT_THAT_DOUBLES), "it names _codecs.encode"),
        (archive_of(b"N.", "other/data.pkl"), "its records are not in one folder"),
        (archive_of(MEMORY), ": is memory without a tensor; no run saves this"),
    ],
    ids=["other case", "bytearray", "text that doubles", "two folders", "storage"],
)
def test_what_would_take_memory_beyond_its_file_is_refused_unread(tmp_path, content, reason):
    path = tmp_path / "bomb.ckpt"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_checkpoint(path)
    assert reason in str(error.value)


def test_a_long_name_is_not_copied_for_each_value_below_it(tmp_path):
    path = tmp_path / "long.ckpt"
    torch.save({"k" * 1_000_000: dict.fromkeys(range(3_000), 0)}, path)  # 3 GB of copies
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="it has no hyper_parameters model"):
            read_checkpoint(path)
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({"hyper_parameters": None}, "hyper_parameters model"),
        ({"hyper_parameters": {"model": "resnet18"}}, "hyper_parameters model"),
        ({"hyper_parameters": {"model": {}}}, "hyper_parameters tokenizer"),
        ({"hyper_parameters": {"model": {}, "tokenizer": {}}}, "hyper_parameters data"),
        ({"hyper_parameters": {"model": {}, "tokenizer": {}, "data": {}}},
         "fingerprint of its text"),
        ({"state_dict": [1]}, "state_dict"),
    ],
)  # fmt: skip
def test_another_projects_checkpoint_is_refused_with_what_it_lacks(tmp_path, change, missing):
    path = tmp_path / "other.ckpt"
    torch.save({**CONTENT, "state_dict": {}, **change}, path)
    with pytest.raises(UserError) as error:
        read_checkpoint(path)
    assert str(error.value) == f"{path} is not a minigpt checkpoint: it has no {missing}"
    torch.save([1], path)
    with pytest.raises(UserError, match="it has no hyper_parameters model"):
        read_checkpoint(path)


def test_a_run_folder_stands_for_its_checkpoint(tmp_path):
    with pytest.raises(UserError, match="has no last.ckpt in checkpoints/$"):
        find_checkpoint(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").touch()
    assert find_checkpoint(tmp_path).name == "last.ckpt"
    with pytest.raises(UserError, match="has no best.ckpt in checkpoints/; it has last.ckpt"):
        find_checkpoint(tmp_path, "best")
    assert find_checkpoint(tmp_path / "other.ckpt") == tmp_path / "other.ckpt"


def test_a_run_is_resumed_from_its_newest_whole_checkpoint(tmp_path):
    run = RunFolder(tmp_path)
    run.checkpoints.mkdir()
    with pytest.raises(UserError) as error:
        checkpoint_to_resume(run)
    assert str(error.value) == (
        f"resume={tmp_path}: the run has no checkpoints/last.ckpt yet, so there is nothing to "
        "continue; start it again without resume="
    )
    for path in (run.last, run.best):
        torch.save({**CONTENT, "state_dict": {"weight": torch.arange(1000.0)}}, path)
    assert checkpoint_to_resume(run) == (run.last, "")
    whole = run.last.read_bytes()
    for damaged, problem in (
        (b"", "is not a readable checkpoint (BadZipFile); it is damaged or another kind of file"),
        (whole[: len(whole) // 2], "is not a readable checkpoint (BadZipFile); it is damaged or "
         "another kind of file"),
        (flipped(whole), "is damaged: the checksum of its last/data/0 is wrong"),
    ):  # fmt: skip
        run.last.write_bytes(damaged)
        assert checkpoint_to_resume(run) == (
            run.best, f"{run.last} {problem}; the run goes on from best.ckpt"
        )  # fmt: skip
        with pytest.raises(UserError, match="; best.ckpt beside it may be whole$"):
            read_checkpoint(run.last)
    run.best.write_bytes(flipped(run.best.read_bytes()))
    with pytest.raises(UserError, match="last.ckpt is damaged.*; .*best.ckpt is damaged"):
        checkpoint_to_resume(run)


def flipped(content):
    """The bytes with one mantissa bit of a weight changed."""
    at = content.index(torch.arange(1000.0).numpy().tobytes()) + 2000
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def test_what_would_not_go_on_exactly_is_refused():
    same = CONTENT["hyper_parameters"]
    check_resumable(CONTENT, same)
    # Older checkpoints do not name it; the text's fingerprint tells it.
    check_resumable(CONTENT, {**same, "data": {**same["data"], "end_of_text": True}})
    for change, message in [
        ({"model": {"n_embd": 8}}, "has model.n_embd=4, this run asks for 8"),
        ({"tokenizer": {"name": "gpt2"}}, "has tokenizer.name=char, this run asks for gpt2"),
        ({"data": {"text": "abd", "batch_size": 4}}, "has data.text=abc"),
        ({"data": {"text": "abc", "batch_size": 8}}, "has data.batch_size=4"),
        ({"seed": 2}, "has seed=1, this run asks for 2"),
    ]:
        with pytest.raises(UserError, match=f"resume: the checkpoint {message}"):
            check_resumable(CONTENT, {**same, **change})


def test_in_an_older_checkpoint_the_batch_size_was_that_of_each_process():
    saved = CONTENT["hyper_parameters"]
    older = {**CONTENT, "hyper_parameters": {**saved, "data": {**saved["data"], "processes": 2}}}
    with pytest.raises(UserError, match="has data.batch_size=8, this run asks for 4"):
        check_resumable(older, saved)
    check_resumable(older, {**saved, "data": {**saved["data"], "batch_size": 8}})


def test_a_key_that_an_older_checkpoint_lacks_had_its_default():
    newer = {**CONTENT["hyper_parameters"], "model": {"n_embd": 4, "activation": "gelu_tanh"}}
    check_resumable(CONTENT, newer)
    newer["model"]["activation"] = "gelu"
    with pytest.raises(UserError, match="has model.activation=gelu_tanh, this run asks for gelu;"):
        check_resumable(CONTENT, newer)
