"""Times training on one GPU, unattended and in under eight minutes, with nothing to download.

    python benchmarks/gpu.py --store outputs/tokens/files-gpt2-...    writes docs/results/gpu.md
    python benchmarks/gpu.py --toy --stdout                           a trial on any machine

Prints a table and writes gpu.json beside the page: tokens a second and ms a step of the three
configurations, under Lightning as users run them, in a bare loop, and as a dense float32
reference; the loss's paths one by one; the floor that the machine sets, measured here; and the
three-experiment comparison on the token store given.
"""

import argparse
import contextlib
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from machine import REPOSITORY, processor, product_rate

from minigpt.config import build, compose_config
from minigpt.model.gpt import GPT, GPTConfig, training_flops_per_token
from minigpt.model.loss import next_token_loss
from minigpt.training.build import build_run
from minigpt.training.memory import reset_peak_memory
from minigpt.training.optimizer import OptimizerConfig, make_optimizer

CONFIGS = {
    "mini": ["experiment=memorize", "data.batch_size=4"],
    "base": ["experiment=baseline", "data=sample", "data.batch_size=32", "data.stride=1"],
    "wide": ["experiment=wider", "data=sample", "data.batch_size=16", "data.stride=1"],
}
TOY = ["model.n_layer=1", "model.n_embd=16", "model.block_size=16"]
EXPERIMENTS = ("baseline", "lower_lr", "wider")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def wait() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def seconds_a_step(step: Callable[[], Any], least: int, budget: float) -> float:
    """Mean of as many steps as a time allows, the device having done them all."""
    for _ in range(3):
        step()
    wait()
    start, steps = time.perf_counter(), 0
    while steps < least or time.perf_counter() - start < budget:
        for _ in range(least):
            step()
        steps += least
        wait()
    return (time.perf_counter() - start) / steps


def copy_rate(mib: int) -> float:
    """Bytes a second, read and written, of a copy on the device."""
    a = torch.empty(mib * 2**20, dtype=torch.uint8, device=DEVICE)
    b = torch.empty_like(a)
    return 2 * a.numel() / seconds_a_step(lambda: b.copy_(a), 5, 0.5)


def lightning(overrides: list[str], steps: int, *more: str) -> dict[str, float]:
    """`train.py`'s own objects: seconds a step between two logs, and peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        cfg = compose_config(
            [*overrides, f"run_dir={folder}", "trainer.max_epochs=-1", "~callbacks.best",
             "~callbacks.last", "trainer.limit_val_batches=0", f"trainer.max_steps={2 * steps}",
             f"trainer.log_every_n_steps={steps}", "~callbacks.progress", *more]
        )  # fmt: skip
        reset_peak_memory()  # without what an earlier side has left
        torch.compiler.reset()  # what earlier sides compiled counts towards a limit
        run = build_run(cfg)
        with contextlib.redirect_stdout(None):
            run.trainer.fit(run.lit, run.data)
        # The last log's speed: the first includes what happens once.
        tokens = cfg.data.batch_size * cfg.model.block_size
        return {"seconds": tokens / run.lit.latest["tokens_per_second"], **memory()}


def memory() -> dict[str, float]:
    return {"peak": torch.cuda.max_memory_allocated()} if DEVICE.type == "cuda" else {}


def bare(overrides: list[str], budget: float, method: str, autocast: bool) -> dict[str, float]:
    """The same step without Lightning, on one batch that lies on the device."""
    cfg = compose_config(overrides)
    model = build(GPTConfig, "model", cfg.model)
    torch.manual_seed(1)
    net = GPT(model).to(DEVICE)
    optimizer = make_optimizer(build(OptimizerConfig, "optimizer", cfg.optimizer), net)
    shape = cfg.data.batch_size, model.block_size + 1
    tokens = torch.randint(model.vocab_size, shape, device=DEVICE)
    if not autocast:  # a run before may have left TF32 on
        torch.set_float32_matmul_precision("highest")
    reset_peak_memory()  # without what an earlier side has left

    def step() -> None:
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=autocast):
            hidden = net.hidden(tokens[:, :-1])
            loss = next_token_loss(hidden, net.head.weight, net.head.bias, tokens[:, 1:], method)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    seconds = seconds_a_step(step, 5, budget)
    return {"seconds": seconds, **memory()}


def losses(overrides: list[str], budget: float) -> dict[str, dict[str, float] | str]:
    """The head and its loss alone, forwards and backwards, by each path that there is."""
    cfg = compose_config(overrides)
    model = build(GPTConfig, "model", cfg.model)
    rows = cfg.data.batch_size * model.block_size
    torch.manual_seed(1)
    hidden = torch.randn(rows, model.n_embd, device=DEVICE, requires_grad=True)
    weight = torch.randn(model.vocab_size, model.n_embd, device=DEVICE) / math.sqrt(model.n_embd)
    weight.requires_grad_()
    targets = torch.randint(model.vocab_size, (rows,), device=DEVICE)
    paths: dict[str, Callable[[], torch.Tensor]] = {
        method: lambda method=method: next_token_loss(hidden, weight, None, targets, method)  # type: ignore
        for method in ("dense", "chunked", "bfloat16")
    }
    if DEVICE.type == "cuda":
        compiled = torch.compile(lambda h, w: next_token_loss(h, w, None, targets, "dense"))
        paths["dense, compiled"] = lambda: compiled(hidden, weight)
    with contextlib.suppress(ImportError):
        from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

        liger = LigerFusedLinearCrossEntropyLoss()
        paths["Liger"] = lambda: liger(weight.bfloat16(), hidden.bfloat16(), targets)
    with contextlib.suppress(ImportError):
        from cut_cross_entropy import linear_cross_entropy

        paths["cut-cross-entropy"] = lambda: linear_cross_entropy(
            hidden.bfloat16(), weight.bfloat16(), targets
        )
    found: dict[str, dict[str, float] | str] = {}
    for name, path in paths.items():

        def step(path: Callable[[], torch.Tensor] = path) -> None:
            with torch.autocast(DEVICE.type, torch.bfloat16, enabled=DEVICE.type == "cuda"):
                loss = path()
            loss.backward()
            hidden.grad = weight.grad = None

        try:
            reset_peak_memory()  # without what an earlier side has left
            found[name] = {"seconds": seconds_a_step(step, 5, budget), **memory()}
        except Exception as error:  # a kernel that does not run here is a result too
            found[name] = f"{type(error).__name__}: {error}".splitlines()[0]
    return found


def comparison(store: str, tokens: float, toy: list[str]) -> str:
    """The report of the three experiments on a store, each of so many tokens."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(REPOSITORY / "train.py"), "-m",
                   f"experiment={','.join(EXPERIMENTS)}", "data=store", f"data.files=[{store}]",
                   f"budget.tokens={tokens}", f"hydra.sweep.dir={folder}/sweep", *toy]  # fmt: skip
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        report = Path(folder) / "sweep" / "report.md"
        if done.returncode or not report.exists():
            return f"It failed: {(done.stderr.splitlines() or ['no reason given'])[-1]}"
        # What stands above the commands that make each run again.
        return (
            report.read_text("utf-8").partition("## How the runs differ")[0].replace("## ", "### ")
        )


def measure(args: argparse.Namespace) -> dict[str, Any]:
    toy = TOY if args.toy else []
    budget = 0.2 if args.toy else 4.0
    steps = 5 if args.toy else 200
    name = torch.cuda.get_device_name() if DEVICE.type == "cuda" else processor()
    found: dict[str, Any] = {
        "machine": f"{name}, torch {torch.__version__}",
        "product_rate": product_rate(0.2 if args.toy else 2.0),
        "copy_rate": copy_rate(16 if args.toy else 1024),
        "configs": {},
    }
    with tempfile.TemporaryDirectory() as root:
        for config, overrides in CONFIGS.items():
            given = [*overrides, f"data.root={root}", *toy]
            cfg = compose_config(given)
            model = build(GPTConfig, "model", cfg.model)
            sides: dict[str, Callable[[], dict[str, float]]] = {
                "minigpt": lambda given=given: lightning(given, steps),  # type: ignore
                "minigpt, trainer.compile": lambda given=given: lightning(  # type: ignore
                    given, steps, "trainer.compile=true"),
                "minigpt, CUDA graphs": lambda given=given: lightning(  # type: ignore
                    given, steps, "trainer.compile=reduce-overhead"),
                "bare loop": lambda given=given: bare(  # type: ignore
                    given, budget, "chunked", DEVICE.type == "cuda"),
                "dense float32, bare": lambda given=given: bare(given, budget, "dense", False),  # type: ignore
            }  # fmt: skip
            rows: dict[str, Any] = {}
            for side, run in sides.items():
                try:
                    rows[side] = run()
                except Exception as error:  # one side's failure must not lose the others
                    rows[side] = f"{type(error).__name__}: {error}".splitlines()[0]
                print(config, side, rows[side], flush=True)
            found["configs"][config] = {
                "tokens": cfg.data.batch_size * model.block_size,
                "flops": training_flops_per_token(model) * cfg.data.batch_size * model.block_size,
                "sides": rows,
                "losses": losses(given, budget / 4),
                "head_flops": 6
                * model.vocab_size
                * model.n_embd
                * cfg.data.batch_size
                * model.block_size,
            }
    if args.store:
        found["comparison"] = comparison(args.store, 20_000 if args.toy else args.tokens, toy)
    return found


def cells(result: Any, tokens: int, flops: int, rate: float) -> str:
    if isinstance(result, str):
        return f"{result} | | | "
    seconds = result["seconds"]
    peak = f"{result['peak'] / 2**20:,.0f}" if "peak" in result else ""
    return (f"{seconds * 1e3:.3f} | {tokens / seconds:,.0f} | {peak} "
            f"| {flops / seconds / rate:.1%}")  # fmt: skip


def page(found: dict[str, Any]) -> str:
    rate, copy = found["product_rate"], found["copy_rate"]
    lines = [
        "# Speed on one GPU",
        f"`python benchmarks/gpu.py` on {found['machine']}. The machine's own floor, measured in "
        f"the same run: {rate / 1e12:,.1f} TFLOP/s of bfloat16 matrix products, "
        f"{copy / 1e9:,.0f} GB/s of copying.",
        "| configuration | side | ms a step | tokens a second | peak MiB | share of the product "
        "rate |\n|---|---|---:|---:|---:|---:|",
    ]
    for config, c in found["configs"].items():
        for side, result in c["sides"].items():
            row = cells(result, c["tokens"], c["flops"], rate)
            lines[-1] += f"\n| {config} | {side} | {row} |"
    lines += [
        "## The head and its loss alone",
        "| configuration | path | ms | tokens a second | peak MiB | share of the product rate |"
        "\n|---|---|---:|---:|---:|---:|",
    ]
    for config, c in found["configs"].items():
        for path, result in c["losses"].items():
            row = cells(result, c["tokens"], c["head_flops"], rate)
            lines[-1] += f"\n| {config} | {path} | {row} |"
    if "comparison" in found:
        lines += ["## The three experiments", found["comparison"].partition("\n")[2].strip()]
    return "\n\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--store", help="a token store's folder, for the three experiments")
    parser.add_argument("--tokens", type=float, default=20e6, help="of each experiment")
    parser.add_argument("--toy", action="store_true", help="tiny sizes, to try the script itself")
    parser.add_argument("--stdout", action="store_true", help="print only, write no page")
    args = parser.parse_args()
    start = time.perf_counter()
    found = measure(args)
    text = page(found)
    print(text)
    print(f"{time.perf_counter() - start:.0f} s in all", file=sys.stderr)
    if not args.stdout:
        results = REPOSITORY / "docs" / "results"
        (results / "gpu.md").write_text(text, "utf-8")
        (results / "gpu.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
