"""What benchmarks/train_step.py times: training loops that yield the seconds of each step."""

import csv
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from models import transformers_gpt2

Seconds = Iterator[float]

WARM_UP = 3  # steps at the start of each loop that are not counted
NO_CHECKPOINTS = ["~callbacks.best", "~callbacks.last"]


def plain_loop(overrides: list[str], fast: bool) -> Seconds:
    """Our network in the loop that one would write first: all logits, AdamW, clipping."""
    from minigpt.config import compose_config
    from minigpt.model.gpt import GPT
    from minigpt.training.build import build_data

    cfg = compose_config(overrides)
    data, config = build_data(cfg)
    net = GPT(config)
    return _loop(net, net, cfg.optimizer.lr, data.train_dataloader(), fast)


def transformers_loop(overrides: list[str], fast: bool) -> Seconds:
    """GPT-2 of the transformers library with the same shape, in the same loop."""
    from minigpt.config import compose_config
    from minigpt.training.build import build_data

    cfg = compose_config(overrides)
    data, c = build_data(cfg)
    net = transformers_gpt2(c, resid_pdrop=c.dropout, attn_pdrop=c.dropout,
                            embd_pdrop=c.embd_dropout, use_cache=False)  # fmt: skip
    net.train()
    return _loop(net, lambda ids: net(ids).logits, cfg.optimizer.lr, data.train_dataloader(), fast)


def _loop(net: Any, logits: Callable[..., Any], lr: float, batches: Any, fast: bool) -> Seconds:
    """fast: bfloat16 autocast, torch.compile and fused AdamW, the usual advice for a CPU."""
    import torch
    import torch.nn.functional as F

    def loss_of(inputs: Any, targets: Any) -> Any:
        flat_logits = logits(inputs).flatten(0, 1)
        return F.cross_entropy(flat_logits, targets.flatten(), ignore_index=-100)

    compute = torch.compile(loss_of) if fast else loss_of
    optimizer = torch.optim.AdamW(net.parameters(), lr, fused=fast)
    for inputs, targets in _forever(batches):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            loss = compute(inputs, targets)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        loss.item()
        yield time.perf_counter() - start


def _forever(batches: Any) -> Iterator[Any]:
    return itertools.chain.from_iterable(itertools.repeat(batches))


def minigpt_run(overrides: list[str], steps: int) -> Seconds:
    """The run of `train.py` under Lightning, from the end of one batch to the end of the next."""
    from minigpt.config import compose_config, share_cores

    share_cores()
    import lightning.pytorch as pl

    from minigpt.training.build import build_run

    class Clock(pl.Callback):
        ends: list[float] = []  # noqa: RUF012

        def on_train_batch_end(self, *_: Any) -> None:
            self.ends.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        cfg = compose_config(
            [*overrides, f"run_dir={folder}", "trainer.max_epochs=-1",
             "trainer.limit_val_batches=0", f"trainer.max_steps={1 + WARM_UP + steps}",
             *NO_CHECKPOINTS]
        )  # fmt: skip
        run = build_run(cfg)
        clock = Clock()
        run.trainer.callbacks.append(clock)
        run.trainer.fit(run.lit, run.data)
    return (end - start for start, end in itertools.pairwise(clock.ends))


def empty_step_seconds(steps: int, root: str, under_lightning: bool) -> float:
    """Mean seconds of a step whose loss is one sum, in a plain loop or under Lightning."""
    import torch

    from minigpt.config import compose_config
    from minigpt.training.build import build_run
    from minigpt.training.lit_gpt import LitGPT
    from minigpt.training.optimizer import make_optimizer

    warm_up = 100

    class EmptyStep(LitGPT):
        def loss(self, batch: Any, label_smoothing: float = 0.0) -> Any:
            return self.net.ln_f.weight.sum()

    with tempfile.TemporaryDirectory() as folder:
        overrides = ["model.n_layer=1", "model.n_embd=8", "model.n_head=1", f"run_dir={folder}",
                     f"data.root={root}", "trainer.max_epochs=-1", "trainer.limit_val_batches=0",
                     f"trainer.max_steps={warm_up + steps}", *NO_CHECKPOINTS,
                     "~callbacks.alignment_guard"]  # fmt: skip
        run = build_run(compose_config(overrides))
        run.lit.__class__ = EmptyStep
        net = run.lit.net
        starts = []
        if under_lightning:
            run.lit.on_train_batch_start = lambda *_: starts.append(time.perf_counter())
            run.trainer.fit(run.lit, run.data)
        else:
            optimizer = make_optimizer(run.lit.optimizer_config, net)
            batches = _forever(run.data.train_dataloader())
            for batch in itertools.islice(batches, warm_up + steps):
                starts.append(time.perf_counter())
                loss = run.lit.loss(batch)
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                optimizer.step()
                loss.item()
    return (starts[-1] - starts[warm_up - 1]) / (len(starts) - warm_up)


def loss_curve(overrides: list[str], steps: int) -> list[float]:
    """The training loss of a run, averaged over each ten steps."""
    from minigpt.config import compose_config
    from minigpt.training.build import build_run

    with tempfile.TemporaryDirectory() as folder:
        cfg = compose_config(
            [*overrides, f"run_dir={folder}", f"trainer.max_steps={steps}", *NO_CHECKPOINTS,
             "trainer.log_every_n_steps=10", "logger=csv"]
        )  # fmt: skip
        run = build_run(cfg)
        run.trainer.fit(run.lit, run.data)
        with (Path(folder) / "metrics.csv").open(newline="") as file:
            return [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]


# Side -> (its name in the table, a loop over given overrides and number of steps).
SIDES: dict[str, tuple[str, Callable[[list[str], int], Seconds]]] = {
    "plain": ("plain loop", lambda overrides, _: plain_loop(overrides, fast=False)),
    "plain_fast": ("plain, bf16 + compile", lambda overrides, _: plain_loop(overrides, fast=True)),
    "transformers": ("transformers", lambda overrides, _: transformers_loop(overrides, fast=False)),
    "transformers_fast": (
        "transformers, bf16 + compile",
        lambda overrides, _: transformers_loop(overrides, fast=True),
    ),
    "minigpt": ("minigpt", minigpt_run),
}
