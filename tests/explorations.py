"""Networks with random weights and small texts to explore them with."""

import dataclasses
from pathlib import Path

import torch

from minigpt.model.gpt import GPT, GPTConfig
from minigpt.tokens.prepare import prepare
from minigpt.tokens.tokenizer import from_spec
from tests.trained import trained

SHAPE = GPTConfig(
    n_layer=2, n_head=2, n_embd=8, mlp_ratio=2, block_size=16, vocab_size=50257, dropout=0.1,
    embd_dropout=0.1, bias=True, head_bias=True, tie_weights=False, positions="learned",
    init="torch",
)  # fmt: skip


def stored(config, folder, held_out, train=("Nothing of note.", "Boats wait for the tide.")):
    """A token store of these texts; config makes a data configuration (see conftest.data)."""
    folder.mkdir(exist_ok=True)
    for split, texts in {"train": train, "val": held_out}.items():
        for i, text in enumerate(texts):
            (folder / f"{split}{i}.txt").write_text(text, "utf-8")
    return prepare(
        config(
            files=[f"{folder}/train*.txt"], val_files=[f"{folder}/val*.txt"], val_fraction=0.0,
            test_fraction=0.0,
        )
    ).store  # fmt: skip


def model(store, seed=1, **changes):
    """A network with random weights for the ids of a store."""
    tokenizer = from_spec(store.manifest.tokenizer)
    torch.manual_seed(seed)
    shape = dataclasses.replace(SHAPE, **{"vocab_size": tokenizer.n_vocab, **changes})
    return trained(GPT(shape), tokenizer, Path(f"{seed}.ckpt"), store.manifest.fingerprint)
