"""Time training on one GPU, unattended, in less than eight minutes and without downloads.

    python benchmarks/gpu.py                      writes docs/results/gpu.md
    python benchmarks/gpu.py --toy --stdout       a trial on any machine
    python benchmarks/gpu.py --store outputs/tokens/files-gpt2-...    compares on that token store

It prints a page and writes gpu.md and gpu.json. They hold tokens per second and ms per step of
three configurations (under Lightning as users run them, also compiled and with CUDA graphs, in a
bare loop, and as a dense float32 reference), each method of the loss, the rates that limit this
machine, and a comparison of the three experiments, on Python's standard library unless a store is
given. Liger and cut-cross-entropy are measured where they are installed (liger-kernel and
cut-cross-entropy). What the time does not suffice for says so in its row.
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
    own_methods,
    result_or_error,
)
from machine import REPOSITORY, processor, product_rate
from models import EXPERIMENTS
from results import argument_parser, publish

from minigpt.config import build, compose_config
from minigpt.model.gpt import GPTConfig, count_parameters, training_flops_per_token
from minigpt.version import code_commit

TOY = ["model.n_layer=1", "model.n_embd=16", "model.block_size=16"]
TOY_COMPARISON = ["trainer.limit_val_batches=1", "trainer.limit_test_batches=1"]
COMPARED = ("baseline", "lower_lr", "wider")

Result = dict[str, float] | str  # seconds and peak bytes, or an error


def comparison(store: str | None, tokens: float, overrides: list[str], seconds: float) -> str:
    """The report of the three experiments, each trained on so many tokens.

    They train on a token store; without one on the experiments' own text, which needs no download.
    """
    data = ["data=store", f"data.files=[{Path(store).resolve()}]"] if store else []
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(REPOSITORY / "train.py"), "-m",
                   f"experiment={','.join(COMPARED)}", *data, f"budget.tokens={tokens}",
                   f"hydra.sweep.dir={folder}/sweep", *overrides]  # fmt: skip
        try:
            process = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, check=False, timeout=seconds
            )
        except subprocess.TimeoutExpired:
            return f"Stopped after {seconds:.0f} s: give it fewer --tokens or more --minutes."
        report = Path(folder) / "sweep" / "report.md"
        if process.returncode or not report.exists():
            return f"It failed: {(process.stderr.splitlines() or ['no reason given'])[-1]}"
        # Without the last part, the commands that repeat each run.
        text = report.read_text("utf-8").partition("## How the runs differ")[0]
        return text.replace("## ", "### ").partition("\n")[2].strip()


def measure_sides(
    overrides: list[str], steps: int, budget: float, deadline: float
) -> dict[str, Result]:
    """Side -> its result, for one configuration; after the deadline no further side is measured."""

    def run(*more: str) -> Callable[[], dict[str, float]]:
        return lambda: lightning_run(overrides, steps, *more)

    sides: dict[str, Callable[[], dict[str, float]]] = {
        "minigpt": run(),
        "bare loop": lambda: bare_step(overrides, budget, "chunked", DEVICE.type == "cuda"),
        "dense float32, bare": lambda: bare_step(overrides, budget, "dense", False),
    }
    if DEVICE.type == "cuda":  # early, since a step of a small network waits for its launches
        sides["minigpt, CUDA graphs"] = run("trainer.compile=reduce-overhead")
        sides["minigpt, trainer.compile"] = run("trainer.compile=true")
    sides.update({f"minigpt, loss={name}": run(f"loss={name}") for name in own_methods()})
    results: dict[str, Result] = {}
    for side, measured in sides.items():
        in_time = time.perf_counter() < deadline
        results[side] = result_or_error(measured) if in_time else "not run: the time was over"
        print(side, results[side], flush=True)
    return results


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """All results, in the layout of gpu.json."""
    end = time.perf_counter() + 60 * args.minutes
    toy_overrides = TOY if args.toy else []
    budget = 0.2 if args.toy else 4.0  # seconds of measuring for each bare side
    steps = 5 if args.toy else 200
    name = torch.cuda.get_device_name() if DEVICE.type == "cuda" else processor()
    results: dict[str, Any] = {
        "machine": f"{name}, torch {torch.__version__}",
        "commit": code_commit(),
        "product_rate": product_rate(seconds=0.2 if args.toy else 2.0),
        "copy_rate": copy_rate(16 if args.toy else 1024),
        "configs": {},
    }
    left = end - time.perf_counter()
    with tempfile.TemporaryDirectory() as root:
        for i, experiment in enumerate(args.configs):
            overrides = [*EXPERIMENTS[experiment], f"data.root={root}", *toy_overrides]
            # The comparison counts as one configuration more.
            share = (i + 1) / (len(args.configs) + args.comparison)
            print(experiment, flush=True)
            config = floors(overrides, results)
            config["losses"] = head_losses(overrides, budget / 4)
            config["sides"] = measure_sides(overrides, steps, budget, end - left * (1 - share))
            results["configs"][experiment] = config
    if args.comparison:
        seconds = max(end - time.perf_counter(), 10)
        tokens = 5_000 if args.toy else args.tokens
        overrides = [*TOY, *TOY_COMPARISON] if args.toy else []
        results["comparison"] = comparison(args.store, tokens, overrides, seconds)
    return results


def floors(overrides: list[str], rates: dict[str, Any]) -> dict[str, Any]:
    """Tokens of a step, and the least seconds that the step and its head can take.

    The matrix products at the measured rate; for the step also AdamW's pass over the parameters at
    the rate of a copy: it reads four float32 numbers for each and writes three.
    """
    cfg = compose_config(overrides)
    model = build(GPTConfig, "model", cfg.model)
    tokens = cfg.data.batch_size * model.block_size
    parameters = sum(count_parameters(model).values())
    products = training_flops_per_token(model) * tokens / rates["product_rate"]
    return {
        "tokens": tokens,
        "floor": products + 7 * 4 * parameters / rates["copy_rate"],
        "head_floor": 6 * model.vocab_size * model.n_embd * tokens / rates["product_rate"],
    }


def table(results: dict[str, Any], kind: str, floor: str, header: str) -> str:
    """A row for each configuration and side; kind and floor are keys of a configuration."""
    lines = [f"{header} | tokens a second | peak MiB | share of the floor |",
             "|---|---|---:|---:|---:|---:|"]  # fmt: skip
    for experiment, config in results["configs"].items():
        for side, result in config[kind].items():
            lines.append(
                f"| {experiment} | {side} | {cells(result, config['tokens'], config[floor])} |"
            )
    return "\n".join(lines)


def cells(result: Result, tokens: int, floor: float) -> str:
    if isinstance(result, str):
        return f"{result} | | | "
    seconds = result["seconds"]
    peak = f"{result['peak'] / 2**20:,.0f}" if "peak" in result else ""
    return f"{seconds * 1e3:.3f} | {tokens / seconds:,.0f} | {peak} | {floor / seconds:.0%}"


def page(results: dict[str, Any]) -> str:
    text = f"""# Speed on one GPU

`python benchmarks/gpu.py` on {results["machine"]}, commit {(results["commit"] or "unknown")[:7]}.
Measured in the same run, this machine reaches {results["product_rate"] / 1e12:,.1f} TFLOP/s in
bfloat16 matrix products and {results["copy_rate"] / 1e9:,.0f} GB/s in copies.

The floor of a step is its matrix products at that rate, and AdamW's pass over the parameters at the
rate of a copy. The raw figures are in [gpu.json](gpu.json).

{table(results, "sides", "floor", "| configuration | side | ms a step")}

## The head and its loss alone

The floor is that of the three products.

{table(results, "losses", "head_floor", "| configuration | method | ms")}
"""
    if "comparison" in results:
        text += f"\n## The three experiments\n\n{results['comparison']}\n"
    return text


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--store", help="folder of a token store, for the three experiments")
    parser.add_argument("--no-comparison", dest="comparison", action="store_false",
                        help="leave out the three experiments")  # fmt: skip
    parser.add_argument("--tokens", type=float, default=20e6, help="tokens of each experiment")
    parser.add_argument("--minutes", type=float, default=7.5, help="then it measures nothing more")
    parser.add_argument("--configs", nargs="+", choices=EXPERIMENTS, default=list(EXPERIMENTS))
    parser.add_argument("--toy", action="store_true", help="tiny sizes, to try the script itself")
    args: argparse.Namespace = parser.parse_args()
    start = time.perf_counter()
    results = measure(args)
    publish("gpu", page(results), args.stdout, results)
    print(f"{time.perf_counter() - start:.0f} s in all", file=sys.stderr)


if __name__ == "__main__":
    main()
