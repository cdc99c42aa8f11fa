"""Folders of finished runs whose losses follow a known law."""

import math

import numpy as np

from minigpt.config import build
from minigpt.model.gpt import GPTConfig, matrix_parameters
from minigpt.runs.run_folder import RunFolder
from minigpt.runs.summary import Data, Epoch, Status, Summary, TokenizerName
from minigpt.statistics.scaling_law import ScalingLaw
from tests.written_runs import MODEL

LAW = ScalingLaw(E=1.2, A=60.0, alpha=0.35, B=400.0, beta=0.4)
WIDTHS = (32, 64, 96, 128)
TOKENS = (1_000_000, 2_000_000, 4_000_000)
VOCABULARY = 256
UNIQUE = 20_000_000


def write_ladder(
    folder, widths=WIDTHS, tokens=TOKENS, seeds=(1,), noise=0.0, law=LAW, unique=UNIQUE
):
    """A run of each width, length and seed, named width-tokens-seed; returns their folder."""
    rng = np.random.default_rng(1)
    for width in widths:
        for length in tokens:
            for seed in seeds:
                write_rung(folder / f"{width}-{length}-{seed}", width, length, seed,
                           noise * rng.standard_normal(), law=law, unique=unique)  # fmt: skip
    return folder


def write_rung(
    path, width, tokens, seed=1, off=0.0, law=LAW, unique=UNIQUE, status=Status.FINISHED,
    speed=20_000.0, tokenizer="char", loss=None, lr=None, **settings,
):  # fmt: skip
    """A run whose held-out loss is the law's and a share `off` more."""
    model = {**MODEL, "n_layer": 2, "n_head": width // 32, "n_embd": width,
             "vocab_size": VOCABULARY}  # fmt: skip
    config = {
        "name": "rung", "seed": seed, "model": model, "trainer": {},
        "optimizer": {"lr": lr or 0.128 / width}, "data": {"batch_size": 16},
        "scheduler": {"name": "warmup_cosine"}, "budget": {"tokens": tokens},
    }  # fmt: skip
    for key, value in settings.items():
        section, _, name = key.partition("__")
        config[section][name] = value
    size = matrix_parameters(build(GPTConfig, "model", model))
    repetitions = max(0.0, tokens / unique - 1)
    worth = min(tokens, unique) + unique * 15.39 * (1 - math.exp(-repetitions / 15.39))
    if loss is None:
        loss = float(law.loss(np.float64(size), np.float64(worth))) * math.exp(off)
    epoch = Epoch(epoch=1, step=100, train_loss=loss, train_perplexity=None, val_loss=loss,
                  val_perplexity=None, seconds=1.0)  # fmt: skip
    run = RunFolder(path)
    run.write_config(config)
    run.write_summary(
        Summary(
            status=status, reason=None if status is Status.FINISHED else "it broke",
            vocab_size=VOCABULARY, steps=100, batches_per_epoch=10_000, epochs=[epoch],
            tokens_seen=tokens, tokens_per_second=speed and speed * 64 / width, device="cpu",
            data=Data(source="files", fingerprint="text", tokens={"train": unique}, documents={}),
            tokenizer=TokenizerName(name=tokenizer, fingerprint=tokenizer),
        )
    )  # fmt: skip
    return run
