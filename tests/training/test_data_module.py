"""The data module opens a corpus when it is told to, and refuses one that does not fit."""

import dataclasses

import pytest
import torch

from minigpt.batches.config import DataConfig
from minigpt.config import build, compose_config
from minigpt.errors import UserError
from minigpt.training.data_module import TokenDataModule


def module(overrides, block_size=8, seed=1):
    """A data module that is not set up yet."""
    cfg = compose_config([*overrides, f"model.block_size={block_size}"])
    return TokenDataModule(build(DataConfig, "data", cfg.data), block_size, seed)


def ready(overrides, **changes):
    data = module(overrides, **changes)
    data.prepare_data()
    data.setup()
    return data


def test_the_constructor_reads_and_writes_nothing(tiny, tmp_path):
    data = module(["data=files", "data.files=[not/there.txt]", f"data.root={tmp_path}/tokens"])
    assert not (tmp_path / "tokens").exists()
    with pytest.raises(UserError, match="no such file: not/there.txt"):
        data.prepare_data()


def test_prepare_and_setup_do_nothing_the_second_time(tiny, tmp_path, corpus):
    data = ready(tiny)
    store, blocks = data.store, data.blocks
    (corpus / "00.txt").write_text("text that changes during the run makes no other store")
    data.prepare_data()
    for stage in ("fit", "validate", "test"):
        data.setup(stage)
    assert data.store is store
    assert data.blocks is blocks
    assert len(list((tmp_path / "tokens").glob("files-*"))) == 1


def test_a_process_that_did_not_prepare_opens_the_same_store(tiny):
    first, second = ready(tiny), module(tiny)
    second.setup("fit")
    assert second.store.folder == first.store.folder


def test_report_a_has_1264_batches_of_its_5056_windows(tmp_path):
    data = ready([f"data.root={tmp_path}"], block_size=64)
    assert len(data.blocks["train"]) == 5056
    assert len(data.train_dataloader()) == 1264
    inputs, targets = next(iter(data.train_dataloader()))
    assert inputs.shape == (4, 64)
    assert torch.equal(inputs[:, 1:], targets[:, :-1])


def test_held_out_text_is_read_in_its_own_order_without_overlap(tmp_path):
    data = ready([f"data.root={tmp_path}"], block_size=64)
    targets = torch.cat([targets.flatten() for _, targets in data.val_dataloader()])
    expected = data.store.tokens("val")[1:].astype("int64")
    assert targets[targets != -100].tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"val_fraction": 0.0}, "val has 0 tokens in 0 documents, one block needs 9"),
        ({"document_tokens": 1, "val_fraction": 0.97, "test_fraction": 0.0}, "train has . tokens"),
    ],
)
def test_a_split_short_of_one_block_is_refused(tiny, change, message):
    config = dataclasses.replace(build(DataConfig, "data", compose_config(tiny).data), **change)
    data = TokenDataModule(config, 8, 1)
    data.prepare_data()
    with pytest.raises(UserError, match=f"data.source=files: {message}"):
        data.setup()


def test_a_token_id_outside_the_vocabulary_is_refused(tiny):
    data = ready(tiny)
    data.check_vocabulary(data.vocab_size)
    with pytest.raises(UserError, match=r"model.vocab_size=5: .* token id \d+, .* set model"):
        data.check_vocabulary(5)


@pytest.mark.parametrize("key", ["batch_size", "eval_batch_size", "stride", "vocab_size"])
def test_sizes_below_one_are_refused_by_key(tiny, key):
    with pytest.raises(UserError, match=f"data.{key} must be above 0, got 0"):
        module([*tiny, f"data.{key}=0"])
