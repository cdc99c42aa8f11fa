"""`model.from`: a run that starts with a GPT-2 folder's shape and weights."""

import shutil

import pytest
import torch
from transformers import AutoModelForCausalLM

from minigpt.runs.checkpoints import read_checkpoint
from minigpt.runs.run_folder import RunFolder
from minigpt.tokens.tokenizer import load_tokenizer
from tests.conftest import run_folders
from tests.interop.checkpoints import save_gpt2, write_checkpoint


@pytest.fixture
def small(corpus, tmp_path):
    """Overrides for a run of the corpus on a GPT-2 of 8 channels with GPT-2's tokenizer."""
    shape = {"vocab_size": 50257, "n_positions": 8, "n_embd": 8, "activation_function": "gelu"}
    # With weights so large the first loss is far from ln(V), as a trained network's is.
    save_gpt2(tmp_path / "gpt2", std=1.0, **shape)
    return [
        "data=files",
        f"data.files=[{corpus}/*.txt]",
        f"data.root={tmp_path}/tokens",
        "data.val_fraction=0.2",
        "data.test_fraction=0.2",
        "data.batch_size=16",
        "callbacks.samples.new_tokens=4",
        "callbacks.samples.prompt_tokens=2",
        "trainer.max_epochs=1",
        "trainer.accelerator=cpu",
        "model.from=gpt2",
    ]


STILL = ["optimizer.lr=1e-30", "optimizer.weight_decay=0"]


def test_a_run_starts_with_the_folders_shape_and_weights(small, type_train, tmp_path):
    typed = type_train(*small, *STILL)
    assert typed.code == 0, typed.err
    (folder,) = run_folders(tmp_path)
    assert folder.parent.name == "files-gpt2"
    config = RunFolder(folder).read_config()["model"]
    assert config["from"] == "gpt2"
    assert (config["n_layer"], config["n_embd"], config["block_size"]) == (2, 8, 8)
    assert (config["activation"], config["dropout"], config["head_bias"]) == ("gelu", 0.1, False)
    start = AutoModelForCausalLM.from_pretrained("gpt2").state_dict()
    trained = read_checkpoint(folder / "checkpoints" / "last.ckpt")["state_dict"]
    assert torch.equal(trained["net.wte.weight"], start["transformer.wte.weight"])
    fc = "transformer.h.1.mlp.c_fc.weight"
    assert torch.equal(trained["net.blocks.1.mlp.fc.weight"], start[fc].T)


def test_a_fine_tuned_run_is_resumed_without_the_folder(small, type_train, tmp_path):
    type_train(*small, "name=whole", "trainer.max_epochs=2", "scheduler=none")
    type_train(*small, "name=parts", "scheduler=none")
    shutil.rmtree(tmp_path / "gpt2")
    parts, whole = run_folders(tmp_path)
    assert type_train(f"resume={parts}", "trainer.max_epochs=2").code == 0
    ours, theirs = (
        read_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"] for run in (parts, whole)
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    refused = type_train(f"resume={parts}", "model.from=other")
    assert refused.err == (
        "error: model.from: a resumed run has its own weights already; leave it out\n"
    )


def test_a_fine_tuned_run_can_be_exported(small, type_train, type_minigpt, tmp_path):
    type_train(*small)
    (folder,) = run_folders(tmp_path)
    assert type_minigpt("export", str(folder), "out").code == 0
    assert AutoModelForCausalLM.from_pretrained("out").config.activation_function == "gelu"


def test_a_typed_dropout_stays_and_a_typed_shape_that_contradicts_is_refused(
    small, type_minigpt, tmp_path
):
    assert type_minigpt("check", *small, "model.dropout=0.3", "model.n_layer=2").code == 0
    typed = type_minigpt("check", *small, "model.n_layer=3")
    assert (typed.code, typed.err) == (
        2,
        "error: model.n_layer=3: model.from=gpt2 has 2; leave it out\n",
    )


@pytest.mark.parametrize("command", ["check", "train"])
def test_text_of_another_tokenizer_is_refused(small, type_minigpt, type_train, tmp_path, command):
    write_checkpoint(tmp_path / "a.ckpt", load_tokenizer("gpt2"), vocab_size=50257)
    type_minigpt("export", "a.ckpt", "own")
    arguments = [*small[:-1], "model.from=own", "data.tokenizer=char"]
    typed = type_minigpt("check", *arguments) if command == "check" else type_train(*arguments)
    assert typed.code == 2
    assert typed.err.splitlines()[-1] == (
        "error: data.tokenizer=char: the tokenizer of own gives other ids, so its weights would "
        "mean other tokens; tokenize as the folder does"
    )
    assert type_minigpt("check", *small[:-1], "model.from=own").code == 0


def test_a_folder_that_is_not_there_is_refused_by_key(small, type_train, tmp_path):
    typed = type_train(*small[:-1], "model.from=nowhere")
    assert (typed.code, typed.err) == (
        2,
        "error: model.from: no such folder: nowhere; nothing is downloaded, so name one on this "
        "disk\n",
    )
    assert not any((tmp_path / "outputs").iterdir())


def test_a_sweep_compares_a_start_from_a_folder_with_one_from_nothing(small, type_train, tmp_path):
    shape = ["model=base", "model.n_layer=2", "model.n_head=2", "model.n_embd=8",
             "model.block_size=8", "model.activation=gelu", "model.tie_weights=true"]  # fmt: skip
    typed = type_train("-m", *small[:-1], *shape, "model.from=null,gpt2,nowhere")
    assert typed.code == 1
    assert "job 2 cannot run: model.from: no such folder: nowhere" in typed.err
    statuses = [RunFolder(folder).read_summary().status for folder in run_folders(tmp_path)]
    assert statuses == ["finished", "finished", "failed"]
