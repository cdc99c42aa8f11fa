"""What benchmarks/gpu.py times: whole runs, bare steps and the head's loss on one device."""

import contextlib
import math
import tempfile
import time
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch

from minigpt.config import build, compose_config
from minigpt.errors import UserError
from minigpt.model.gpt import GPT, GPTConfig
from minigpt.model.loss import METHODS, next_token_loss
from minigpt.training.build import build_run
from minigpt.training.memory import reset_peak_memory
from minigpt.training.optimizer import OptimizerConfig, make_optimizer

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def synchronize() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def mean_seconds(step: Callable[[], Any], group: int, budget: float) -> float:
    """Mean seconds of a step, over groups of steps until budget seconds have passed.

    The device is synchronised after each group only, so that the CPU can queue work ahead.
    """
    for _ in range(3):  # warm up
        step()
    synchronize()
    start, steps = time.perf_counter(), 0
    while steps < group or time.perf_counter() - start < budget:
        for _ in range(group):
            step()
        steps += group
        synchronize()
    return (time.perf_counter() - start) / steps


def copy_rate(mib: int) -> float:
    """Bytes per second, read plus written, of a copy on the device."""
    source = torch.empty(mib * 2**20, dtype=torch.uint8, device=DEVICE)
    target = torch.empty_like(source)
    return 2 * source.numel() / mean_seconds(lambda: target.copy_(source), 5, 0.5)


def peak_memory() -> dict[str, float]:
    """Peak bytes on a GPU; nothing on a CPU."""
    return {"peak": torch.cuda.max_memory_allocated()} if DEVICE.type == "cuda" else {}


def lightning_run(overrides: list[str], steps: int, *more: str) -> dict[str, float]:
    """The run of `train.py` under Lightning: seconds per step and peak memory."""

    class Clock(pl.Callback):
        """Waits for the device after as many steps again as warm up, and at the end."""

        times: list[float] = []  # noqa: RUF012

        def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
            if trainer.global_step % steps == 0:
                synchronize()
                self.times.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        cfg = compose_config(
            [*overrides, f"run_dir={folder}", "trainer.max_epochs=-1", "~callbacks.best",
             "~callbacks.last", "trainer.limit_val_batches=0", f"trainer.max_steps={2 * steps}",
             "~callbacks.progress", *more]
        )  # fmt: skip
        reset_peak_memory()  # an earlier side's peak must not count
        torch.compiler.reset()  # what earlier sides compiled counts towards the recompile limit
        run = build_run(cfg)
        clock = Clock()
        run.trainer.callbacks.append(clock)
        with contextlib.redirect_stdout(None):
            run.trainer.fit(run.lit, run.data)
        first, last = clock.times  # the first half has one-time work
        return {"seconds": (last - first) / steps, **peak_memory()}


def bare_step(overrides: list[str], budget: float, method: str, autocast: bool) -> dict[str, float]:
    """The same step without Lightning, always on one batch that is already on the device."""
    cfg = compose_config(overrides)
    model = build(GPTConfig, "model", cfg.model)
    torch.manual_seed(1)
    net = GPT(model).to(DEVICE)
    optimizer = make_optimizer(build(OptimizerConfig, "optimizer", cfg.optimizer), net)
    shape = cfg.data.batch_size, model.block_size + 1
    tokens = torch.randint(model.vocab_size, shape, device=DEVICE)
    if not autocast:  # an earlier run may have left TF32 on
        torch.set_float32_matmul_precision("highest")
    reset_peak_memory()  # an earlier side's peak must not count

    def step() -> None:
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=autocast):
            hidden = net.hidden(tokens[:, :-1])
            loss = next_token_loss(hidden, net.head.weight, net.head.bias, tokens[:, 1:], method)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    seconds = mean_seconds(step, 5, budget)
    return {"seconds": seconds, **peak_memory()}


def head_losses(overrides: list[str], budget: float) -> dict[str, dict[str, float] | str]:
    """Forward and backward of the head and its loss alone, by each method that is installed."""
    cfg = compose_config(overrides)
    model = build(GPTConfig, "model", cfg.model)
    rows = cfg.data.batch_size * model.block_size
    torch.manual_seed(1)
    hidden = torch.randn(rows, model.n_embd, device=DEVICE, requires_grad=True)
    weight = torch.randn(model.vocab_size, model.n_embd, device=DEVICE) / math.sqrt(model.n_embd)
    weight.requires_grad_()
    targets = torch.randint(model.vocab_size, (rows,), device=DEVICE)
    results: dict[str, dict[str, float] | str] = {}
    for name, loss_of in _loss_methods(hidden, weight, targets).items():

        def step(loss_of: Callable[[], torch.Tensor] = loss_of) -> None:
            with torch.autocast(DEVICE.type, torch.bfloat16, enabled=DEVICE.type == "cuda"):
                loss = loss_of()
            loss.backward()
            hidden.grad = weight.grad = None

        def measure(step: Callable[[], None] = step) -> dict[str, float]:
            reset_peak_memory()  # an earlier method's peak must not count
            return {"seconds": mean_seconds(step, 5, budget), **peak_memory()}

        results[name] = result_or_error(measure)
    return results


def _loss_methods(
    hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor
) -> dict[str, Callable[[], torch.Tensor]]:
    """minigpt's methods, and the dense one compiled."""
    methods: dict[str, Callable[[], torch.Tensor]] = {
        method: lambda method=method: next_token_loss(hidden, weight, None, targets, method)  # type: ignore
        for method in own_methods()
    }
    if DEVICE.type == "cuda":
        compiled = torch.compile(lambda h, w: next_token_loss(h, w, None, targets, "dense"))
        methods["dense, compiled"] = lambda: compiled(hidden, weight)
    return methods


def own_methods() -> list[str]:
    """What `loss=` may be, less auto; one that cannot run here says so when it is tried."""
    return [method for method in METHODS if method != "auto"]


def result_or_error(measure: Callable[[], dict[str, float]]) -> dict[str, float] | str:
    """A side's result, or its error in one line: one failure must not lose the other sides."""
    try:
        return measure()
    except (UserError, ImportError) as error:
        return f"not run: {error}".splitlines()[0]
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]
