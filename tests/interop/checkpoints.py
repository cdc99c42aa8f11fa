"""Checkpoints with random weights, and GPT-2 folders that `transformers` saved."""

import dataclasses
import hashlib

import torch
import transformers
from safetensors.torch import load_file

from minigpt.model.gpt import GPT, GPTConfig
from minigpt.tokens.tokenizer import CharTokenizer

SHAPE = GPTConfig(
    n_layer=2, n_head=2, n_embd=16, mlp_ratio=4, block_size=12, vocab_size=37, dropout=0.1,
    embd_dropout=0.1, bias=True, head_bias=False, tie_weights=False, positions="learned",
    init="gpt2",
)  # fmt: skip
CHARACTERS = CharTokenizer("abcdefghijklmnopqrstuvwxyz .,;!?\n\té日😀")
assert CHARACTERS.n_vocab == SHAPE.vocab_size


def write_checkpoint(path, tokenizer=CHARACTERS, seed=0, **changes):
    """A checkpoint of random weights that lies in a run folder; returns the network."""
    config = dataclasses.replace(SHAPE, **changes)
    torch.manual_seed(seed)
    net = GPT(config).eval()
    with torch.no_grad():
        for p in net.parameters():
            p.normal_(std=0.2)  # zero biases or unit norms would hide a missing one
    checkpoint = {
        "state_dict": {f"net.{name}": value for name, value in net.state_dict().items()},
        "hyper_parameters": {
            "model": dataclasses.asdict(config),
            "tokenizer": tokenizer.spec(),
            "data": {"text": "f1e2"},
        },
        "global_step": 7,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(checkpoint, path)
    return net


def save_gpt2(folder, dtype=torch.float32, shard="5GB", std=0.2, **changes):
    """A random GPT-2 as `transformers` saves it; returns the model."""
    sizes = {"vocab_size": 37, "n_positions": 12, "n_embd": 16, "n_layer": 2, "n_head": 2}
    ends = {"bos_token_id": None, "eos_token_id": None}
    torch.manual_seed(0)
    config = transformers.GPT2Config(**{**sizes, **ends, **changes})
    model = transformers.GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(std=std)
    model.to(dtype).save_pretrained(folder, max_shard_size=shard)
    return model


def hashes(folder):
    """Name -> sha256 of each tensor of a folder, with its type and shape."""
    return {
        name: (
            value.dtype,
            tuple(value.shape),
            hashlib.sha256(value.contiguous().view(torch.uint8).numpy().tobytes()).hexdigest(),
        )
        for path in folder.glob("*.safetensors")
        for name, value in load_file(path).items()
    }
