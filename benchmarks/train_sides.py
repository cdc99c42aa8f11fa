"""What benchmarks/train_step.py times: training loops of several libraries, and minigpt's own."""

import csv
import importlib.util
import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models import litgpt_gpt, transformers_gpt2

MIN_STEPS = 3  # timed, however slow they are ...
LONGEST = 30.0  # ... unless they take more seconds than this
WARM_UP = 1.0  # seconds of steps that are not timed; at least one step, which also compiles

NO_CHECKPOINTS = ["~callbacks.best", "~callbacks.last"]


@dataclass(frozen=True)
class Rival:
    """One way to train the same network on the same batches."""

    model: str  # plain: our network; or a library
    precision: str  # float32, or bfloat16 by autocast
    compiled: bool

    @property
    def title(self) -> str:
        return f"{self.model}, {self.precision}{', compiled' if self.compiled else ''}"

    @property
    def is_installed(self) -> bool:
        return self.model == "plain" or importlib.util.find_spec(self.model) is not None


RIVALS = {
    rival.title: rival
    for rival in (
        Rival(model, precision, compiled)
        for precision in ("float32", "bfloat16")
        for compiled in (False, True)
        for model in ("plain", "transformers", "litgpt")
    )
}
EAGER_FLOAT32 = [t for t, r in RIVALS.items() if r.precision == "float32" and not r.compiled]


@dataclass
class StepTimes:
    """The seconds of steps after a warm-up, until there are enough."""

    seconds: float  # of timed steps to collect
    warm_up: float = 0.0
    timed: list[float] = field(default_factory=list)

    def add(self, step: float) -> bool:
        """Count a step; True once no more are needed."""
        if self.warm_up < WARM_UP:
            self.warm_up += step
            return False
        self.timed.append(step)
        total = sum(self.timed)
        return total >= self.seconds and (len(self.timed) >= MIN_STEPS or total >= LONGEST)

    def result(self) -> dict[str, Any]:
        return {"seconds": statistics.median(self.timed), "steps": len(self.timed)}


def rival_step(rival: Rival, overrides: list[str], seconds: float) -> dict[str, Any]:
    """The loop that one would write first: all logits, fused AdamW, clipping."""
    import torch
    import torch.nn.functional as F

    from minigpt.config import build, compose_config
    from minigpt.model.gpt import GPTConfig

    cfg = compose_config(overrides)
    torch.manual_seed(1)
    net = _network(rival.model, build(GPTConfig, "model", cfg.model)).train()

    def loss_of(inputs: Any, targets: Any) -> Any:
        logits = net(inputs).logits if rival.model == "transformers" else net(inputs)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)

    compute = torch.compile(loss_of) if rival.compiled else loss_of
    optimizer = torch.optim.AdamW(net.parameters(), cfg.optimizer.lr, fused=True)
    times = StepTimes(seconds)
    for inputs, targets in training_batches(cfg):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=rival.precision == "bfloat16"):
            loss = compute(inputs, targets)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        loss.item()
        if times.add(time.perf_counter() - start):
            break
    return times.result()


def _network(model: str, config: Any) -> Any:
    if model == "litgpt":
        net = litgpt_gpt(config)
        net.apply(net._init_weights)
        return net
    if model == "transformers":
        return transformers_gpt2(config, resid_pdrop=config.dropout, attn_pdrop=config.dropout,
                                 embd_pdrop=config.embd_dropout, use_cache=False)  # fmt: skip
    from minigpt.model.gpt import GPT

    return GPT(config)


def training_batches(cfg: Any) -> Iterator[Any]:
    """The batches of a run, without Lightning, whose import would count as a rival's memory."""
    from minigpt.batches.blocks import Blocks
    from minigpt.batches.config import DataConfig
    from minigpt.batches.loader import BlockBatches, BlockLoader
    from minigpt.config import build
    from minigpt.model.loss import IGNORE
    from minigpt.tokens.prepare import prepare

    config = build(DataConfig, "data", cfg.data)
    tokens = prepare(config).store.tokens("train")
    blocks = Blocks(tokens, cfg.model.block_size, config.stride, IGNORE)
    batches = BlockBatches(blocks, config.batch_size, cfg.seed, rank=0, world_size=1)
    return _forever(BlockLoader(batches, config.num_workers, None))


def _forever(batches: Any) -> Iterator[Any]:
    return itertools.chain.from_iterable(itertools.repeat(batches))


def minigpt_step(overrides: list[str], seconds: float) -> dict[str, Any]:
    """The run of `train.py` under Lightning, from the end of one batch to the end of the next.

    The result also has the method of the loss, the precision of the products, and the operations
    of a step: six per token and parameter of the blocks and the head, attention not counted.
    """
    import lightning.pytorch as pl

    from minigpt.config import compose_config
    from minigpt.model.gpt import count_parameters
    from minigpt.training.build import build_run

    times = StepTimes(seconds)

    class Clock(pl.Callback):
        last: float | None = None

        def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
            now = time.perf_counter()
            if self.last is not None and times.add(now - self.last):
                trainer.should_stop = True
            self.last = now

    with tempfile.TemporaryDirectory() as folder:
        cfg = compose_config(
            [*overrides, f"run_dir={folder}", "trainer.max_epochs=-1",
             "trainer.max_steps=1000000", "trainer.limit_val_batches=0", *NO_CHECKPOINTS]
        )  # fmt: skip
        run = build_run(cfg)
        run.trainer.callbacks.append(Clock())
        run.trainer.fit(run.lit, run.data)
    config = run.lit.net.config
    parameters = count_parameters(config)
    tokens = cfg.data.batch_size * config.block_size
    return {
        **times.result(),
        "loss": run.lit.loss_method,
        "precision": "bfloat16" if "bf16" in str(run.trainer.precision) else "float32",
        "flops": 6 * (parameters["blocks"] + parameters["head"]) * tokens,
    }


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
            return next(self.net.ln_f.parameters()).sum()

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
