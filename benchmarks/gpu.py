"""Time training on one GPU, unattended, in less than eight minutes and without downloads.

    python benchmarks/gpu.py --store outputs/tokens/files-gpt2-...    writes docs/results/gpu.md
    python benchmarks/gpu.py --toy --stdout                           a trial on any machine

It prints a page and writes gpu.md and gpu.json. They hold tokens per second and ms per step of
three configurations (under Lightning as users run them, in a bare loop, and as a dense float32
reference), each method of the loss, the rates that limit this machine, and a comparison of the
three experiments on a given token store.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from gpu_sides import (
    DEVICE,
    bare_step,
    copy_rate,
    head_losses,
    lightning_run,
    result_or_error,
)
from machine import REPOSITORY, processor, product_rate
from models import EXPERIMENTS
from results import argument_parser, publish

from minigpt.config import build, compose_config
from minigpt.model.gpt import GPTConfig, training_flops_per_token

TOY = ["model.n_layer=1", "model.n_embd=16", "model.block_size=16"]
COMPARED = ("baseline", "lower_lr", "wider")

Result = dict[str, float] | str  # seconds and peak bytes, or an error


def comparison(store: str, tokens: float, toy: list[str]) -> str:
    """The report of the three experiments on a token store, each trained on so many tokens."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(REPOSITORY / "train.py"), "-m",
                   f"experiment={','.join(COMPARED)}", "data=store", f"data.files=[{store}]",
                   f"budget.tokens={tokens}", f"hydra.sweep.dir={folder}/sweep", *toy]  # fmt: skip
        process = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        report = Path(folder) / "sweep" / "report.md"
        if process.returncode or not report.exists():
            return f"It failed: {(process.stderr.splitlines() or ['no reason given'])[-1]}"
        # Without the last part, the commands that repeat each run.
        text = report.read_text("utf-8").partition("## How the runs differ")[0]
        return text.replace("## ", "### ")


def measure_sides(overrides: list[str], steps: int, budget: float) -> dict[str, Result]:
    """Side -> its result, for one configuration."""
    sides: dict[str, Callable[[], dict[str, float]]] = {
        "minigpt": lambda: lightning_run(overrides, steps),
        "minigpt, trainer.compile": lambda: lightning_run(overrides, steps, "trainer.compile=true"),
        "minigpt, CUDA graphs": lambda: lightning_run(
            overrides, steps, "trainer.compile=reduce-overhead"
        ),
        "bare loop": lambda: bare_step(overrides, budget, "chunked", DEVICE.type == "cuda"),
        "dense float32, bare": lambda: bare_step(overrides, budget, "dense", False),
    }
    results = {}
    for side, run in sides.items():
        results[side] = result_or_error(run)
        print(side, results[side], flush=True)
    return results


def measure(store: str | None, tokens: float, toy: bool) -> dict[str, Any]:
    """All results, in the layout of gpu.json."""
    toy_overrides = TOY if toy else []
    budget = 0.2 if toy else 4.0  # seconds of measuring for each bare side
    steps = 5 if toy else 200
    name = torch.cuda.get_device_name() if DEVICE.type == "cuda" else processor()
    results: dict[str, Any] = {
        "machine": f"{name}, torch {torch.__version__}",
        "product_rate": product_rate(seconds=0.2 if toy else 2.0),
        "copy_rate": copy_rate(16 if toy else 1024),
        "configs": {},
    }
    with tempfile.TemporaryDirectory() as root:
        for experiment, its_overrides in EXPERIMENTS.items():
            overrides = [*its_overrides, f"data.root={root}", *toy_overrides]
            cfg = compose_config(overrides)
            model = build(GPTConfig, "model", cfg.model)
            step_tokens = cfg.data.batch_size * model.block_size
            print(experiment, flush=True)
            results["configs"][experiment] = {
                "tokens": step_tokens,
                "flops": training_flops_per_token(model) * step_tokens,
                "sides": measure_sides(overrides, steps, budget),
                "losses": head_losses(overrides, budget / 4),
                "head_flops": 6 * model.vocab_size * model.n_embd * step_tokens,
            }
    if store:
        results["comparison"] = comparison(store, 20_000 if toy else tokens, toy_overrides)
    return results


def table(results: dict[str, Any], kind: str, flops: str, header: str) -> str:
    """A row for each configuration and side; kind and flops are keys of a configuration."""
    lines = [f"{header} | tokens a second | peak MiB | share of the product rate |",
             "|---|---|---:|---:|---:|---:|"]  # fmt: skip
    for experiment, config in results["configs"].items():
        for side, result in config[kind].items():
            row = cells(result, config["tokens"], config[flops], results["product_rate"])
            lines.append(f"| {experiment} | {side} | {row} |")
    return "\n".join(lines)


def cells(result: Result, tokens: int, flops: int, product_rate: float) -> str:
    if isinstance(result, str):
        return f"{result} | | | "
    seconds = result["seconds"]
    peak = f"{result['peak'] / 2**20:,.0f}" if "peak" in result else ""
    return (f"{seconds * 1e3:.3f} | {tokens / seconds:,.0f} | {peak} "
            f"| {flops / seconds / product_rate:.1%}")  # fmt: skip


def page(results: dict[str, Any]) -> str:
    text = f"""# Speed on one GPU

`python benchmarks/gpu.py` on {results["machine"]}. Measured in the same run, this machine reaches
{results["product_rate"] / 1e12:,.1f} TFLOP/s in bfloat16 matrix products and
{results["copy_rate"] / 1e9:,.0f} GB/s in copies.

{table(results, "sides", "flops", "| configuration | side | ms a step")}

## The head and its loss alone

{table(results, "losses", "head_flops", "| configuration | method | ms")}
"""
    if "comparison" in results:
        experiments = results["comparison"].partition("\n")[2].strip()
        text += f"\n## The three experiments\n\n{experiments}\n"
    return text


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--store", help="folder of a token store, for the three experiments")
    parser.add_argument("--tokens", type=float, default=20e6, help="tokens of each experiment")
    parser.add_argument("--toy", action="store_true", help="tiny sizes, to try the script itself")
    args: argparse.Namespace = parser.parse_args()
    start = time.perf_counter()
    results = measure(args.store, args.tokens, args.toy)
    publish("gpu", page(results), args.stdout, results)
    print(f"{time.perf_counter() - start:.0f} s in all", file=sys.stderr)


if __name__ == "__main__":
    main()
