"""Run folders with known figures, to be compared."""

import math
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa
from pyarrow import parquet

from minigpt.model.loss import perplexity
from minigpt.runs.metrics import MetricsWriter
from minigpt.runs.run_folder import RunFolder
from minigpt.runs.summary import (
    BestValidation,
    Epoch,
    HeldOutText,
    Sample,
    Status,
    Summary,
    Test,
    TokenizerName,
)

MODEL = {
    "n_layer": 2, "n_head": 4, "n_embd": 128, "mlp_ratio": 4, "block_size": 128,
    "dropout": 0.1, "embd_dropout": 0.1, "bias": True, "head_bias": False, "tie_weights": False,
    "positions": "learned", "init": "gpt2", "vocab_size": 50257,
}  # fmt: skip


def write_run(
    folder,
    val,
    train=None,
    seconds=100.0,
    status=Status.FINISHED,
    reason=None,
    losses=MappingProxyType({}),
    norms=MappingProxyType({}),
    **settings,
):
    """A run folder with a training curve that falls to its loss, and the figures given."""
    run = RunFolder(folder)
    config = {"name": settings.pop("name", "run"), "seed": settings.pop("seed", 1),
              "model": dict(MODEL), "optimizer": {"lr": 1e-3}, "data": {"batch_size": 32},
              "trainer": {}, "run_dir": str(folder)}  # fmt: skip
    for key, value in settings.items():
        section, _, name = key.partition("__")
        config[section][name] = value
    run.write_config(config)
    train = val - 0.3 if train is None else train
    epoch = Epoch(epoch=1, step=100, train_loss=train, train_perplexity=perplexity(train),
                  val_loss=val, val_perplexity=perplexity(val), seconds=seconds)  # fmt: skip
    summary = Summary(
        status=status, reason=reason, vocab_size=50257, steps=100, epochs=[epoch],
        parameters={128: 13_278_976, 256: 27_344_384}[config["model"]["n_embd"]],
        tokens_seen=409_600, tokens_per_second=4096.0, wall_seconds=seconds,
        peak_memory_bytes=2**30, command="python train.py -m x=1,2", overrides=["x=1"],
        code_commit="abc", sample=Sample(prompt="The", text=" <b>"),
        best=BestValidation(val_loss=val, val_perplexity=perplexity(val), step=100, epoch=1),
        test=Test(loss=val, perplexity=perplexity(val)),
    )  # fmt: skip
    run.write_summary(summary)
    log = MetricsWriter(run.metrics)
    for step in range(10, 101, 10):
        loss = losses.get(step, train + (100 - step) / 50)
        norm = norms.get(step, 1.0)
        log.append(step, {"train/loss": loss, "grad_norm": norm, "tokens_per_second": 4096.0})
        if step % 50 == 0:
            log.append(step, {"val/loss": val + (100 - step) / 100})
    log.close()


def write_report_b(folder: Path) -> Path:
    """Three runs with report B's own losses and hours; returns their folder."""
    write_run(folder / "0", 5.0772, 5.0772, 4.2 * 3600, name="baseline")
    write_run(folder / "1", 5.0670, 5.0670, 4.3 * 3600, name="lower_lr", optimizer__lr=5e-4)
    write_run(folder / "2", 4.8460, 4.8460, 6.9 * 3600, name="wider", optimizer__lr=5e-4,
              model__n_embd=256, data__batch_size=16)  # fmt: skip
    return folder


def write_documents(folder, loss, tokens=(100, 50, 80, 120, 90), tokenizer="gpt2", bytes_a_token=4):
    """Figures of validation documents named 0, 1, ..., for a run that write_run wrote.

    loss: of each document, in nats a token.
    """
    run = RunFolder(folder)
    sizes = [bytes_a_token * count for count in tokens]
    nats = [value * count for value, count in zip(loss, tokens, strict=True)]
    table = {"split": "val", "domain": "", "correct_at_1": 0, "correct_at_5": 0}
    columns = {name: [value] * len(nats) for name, value in table.items()}
    columns |= {"name": [str(i) for i in range(len(nats))], "tokens": list(tokens)}
    columns |= {"bytes": sizes, "nats": nats}
    parquet.write_table(pa.table(columns), run.documents)
    bits = sum(nats) / math.log(2) / sum(sizes)
    text = HeldOutText(documents=len(nats), tokens=sum(tokens), bytes=sum(sizes),
                       loss=sum(nats) / sum(tokens), loss_stderr=0.1, bits_per_byte=bits,
                       bits_per_byte_stderr=0.01, accuracy_at_1=0.3, accuracy_at_5=0.5)  # fmt: skip
    name = TokenizerName(name=tokenizer, fingerprint=f"sha of {tokenizer}")
    changes = {"evaluation": {"val": text}, "tokenizer": name}
    run.write_summary(run.read_summary().model_copy(update=changes))
