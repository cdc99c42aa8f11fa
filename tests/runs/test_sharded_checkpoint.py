"""Checkpoints whose tensors lie in several files: read whole, or refused in one line."""

import os
import pickle
import tracemalloc
import warnings
import zlib
from pathlib import Path

import pytest
import torch
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.state_dict_saver import save

from minigpt.errors import UserError
from minigpt.runs.checkpoints import (
    SHARDS,
    check_whole,
    read_checkpoint,
    remove_old_shards,
    shards_folder,
)
from minigpt.runs.sharded_checkpoint import METADATA
from minigpt.training.checkpoint_io import DurableCheckpointIO
from minigpt.training.sharding import take_tensors

TIED = torch.arange(12.0).reshape(4, 3)
CONTENT = {
    "hyper_parameters": {"model": {}, "tokenizer": {}, "data": {"text": "abc"}},
    "global_step": 7,
    "state_dict": {"net.wte.weight": TIED, "net.head.weight": TIED, "net.bias": torch.ones(5)},
    "optimizer_states": [{"state": {0: {"step": torch.tensor(7.0), "exp_avg": torch.ones(4, 3)}},
                          "param_groups": [{"lr": 0.1, "params": [0, 1]}]}],
}  # fmt: skip


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "last.ckpt")


def write(path: Path, version: str = "7-00ff") -> Path:
    tensors, rest = take_tensors(CONTENT)
    folder = shards_folder(path) / version
    folder.mkdir(parents=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch: it saves in a single process, as is asked
        save(tensors, storage_writer=FileSystemWriter(folder), no_dist=True)
    checksum = zlib.crc32((folder / METADATA).read_bytes())
    rest[SHARDS] = {"folder": version, "checksum": checksum}
    DurableCheckpointIO().save_checkpoint(rest, path)
    return path


def shard(path: Path) -> Path:
    return next(shards_folder(path).glob("*/*.distcp"))


def test_it_reads_as_the_checkpoint_of_one_process_would(path):
    check_whole(path)
    whole = read_checkpoint(path)
    assert whole.keys() == CONTENT.keys()
    assert whole["optimizer_states"][0]["param_groups"] == [{"lr": 0.1, "params": [0, 1]}]
    torch.testing.assert_close(whole["optimizer_states"][0]["state"][0]["exp_avg"],
                               torch.ones(4, 3))  # fmt: skip
    assert whole["optimizer_states"][0]["state"][0]["step"] == 7
    for name, value in CONTENT["state_dict"].items():
        assert torch.equal(whole["state_dict"][name], value)


def test_tied_weights_are_stored_once():
    tensors, rest = take_tensors(CONTENT)
    assert rest["state_dict"]["net.head.weight"] == rest["state_dict"]["net.wte.weight"]
    assert len(tensors) == 4


def test_only_the_shards_that_a_checkpoint_names_are_kept(path):
    write(path, "8-00ff")
    assert [version.name for version in shards_folder(path).iterdir()] == ["8-00ff"]
    remove_old_shards(path, {})
    assert not shards_folder(path).exists()


def test_each_damage_is_one_line(path, tmp_path):
    def flip(file):
        content = bytearray(file.read_bytes())
        # In the middle of the first tensor's numbers.
        content[content.index(bytes(TIED.numpy().tobytes())) + 17] ^= 4
        file.write_bytes(content)

    def cut(file):
        file.write_bytes(file.read_bytes()[:-100])

    metadata = shards_folder(path) / "7-00ff" / METADATA
    for damage, reason in (
        (lambda: flip(shard(path)), "the checksum of archive/data/0 in __0_0.distcp is wrong"),
        (lambda: cut(shard(path)), "__0_0.distcp is missing or cut short"),
        (lambda: shard(path).unlink(), "__0_0.distcp is missing or cut short"),
        (lambda: cut(metadata), "the checksum of .metadata is wrong"),
        (lambda: metadata.unlink(), "one cannot be read (FileNotFoundError)"),
    ):
        remove_old_shards(path, {})
        write(path)
        damage()
        for read in (check_whole, read_checkpoint):
            with pytest.raises(UserError) as raised:
                read(path)
            assert str(raised.value) == (
                f"{path} is damaged: of the tensors in last.shards/, {reason}"
            )


class Sings:
    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return Path.touch, (self.canary,)


def forge(path, metadata) -> None:
    """Give a checkpoint other metadata, with the right checksum."""
    forge_bytes(path, pickle.dumps(metadata))


def forge_bytes(path, content) -> None:
    (shards_folder(path) / "7-00ff" / METADATA).write_bytes(content)
    checkpoint = torch.load(path, weights_only=True)
    checkpoint[SHARDS]["checksum"] = zlib.crc32(content)
    torch.save(checkpoint, path)


def test_nothing_in_the_metadata_is_executed(path, tmp_path):
    canary = tmp_path / "canary"
    forge(path, Sings(canary))
    with pytest.raises(UserError, match=r"one cannot be read \(UnpicklingError\)"):
        read_checkpoint(path)
    assert not canary.exists()


def test_a_tensor_that_claims_more_memory_than_it_has_bytes_is_refused(path):
    file = shards_folder(path) / "7-00ff" / METADATA
    metadata = pickle.loads(file.read_bytes())
    metadata.state_dict_metadata["state_dict/net.bias"].size = torch.Size([10**13])
    forge(path, metadata)
    with pytest.raises(UserError, match="net.bias claims 40,000,000,000,000 bytes and has"):
        read_checkpoint(path)


def test_metadata_of_another_form_is_refused(path):
    file = shards_folder(path) / "7-00ff" / METADATA
    whole = file.read_bytes()
    for key, value in (("storage_data", {1: 2}), ("state_dict_metadata", []),
                       ("state_dict_metadata", {"net.bias": 3})):  # fmt: skip
        metadata = pickle.loads(whole)
        setattr(metadata, key, value)
        forge(path, metadata)
        with pytest.raises(UserError, match=r"last\.shards/, "):
            read_checkpoint(path)
    # A memo with the number 2^29, which Python's other reader makes room for.
    forge_bytes(path, b"\x80\x02Nr\xff\xff\xff\x1f.")
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=f"{METADATA} is not that of a checkpoint"):
            read_checkpoint(path)
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(UserError, match="one cannot be read"):
        read_checkpoint(path)


def test_a_file_outside_the_folder_is_refused(path):
    file = shards_folder(path) / "7-00ff" / METADATA
    metadata = pickle.loads(file.read_bytes())
    for entry in metadata.storage_data.values():
        entry.relative_path = "../../secret.distcp"
    forge(path, metadata)
    with pytest.raises(UserError, match="names a file that none of them is"):
        read_checkpoint(path)
    checkpoint = torch.load(path, weights_only=True)
    checkpoint[SHARDS]["folder"] = "../secret"
    torch.save(checkpoint, path)
    with pytest.raises(UserError, match="their folder has no proper name"):
        read_checkpoint(path)
