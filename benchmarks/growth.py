"""Measure how time and memory of a training step grow with batch, context and network size.

    python benchmarks/growth.py                 writes docs/results/growth.md and growth.svg
    python benchmarks/growth.py --steps 2 --keys batch --stdout

Starting from report B's baseline, one size changes at a time. Each point runs in a process of its
own. Every round visits all points, so that a slow phase of the machine affects all curves alike.
The script also times a whole `python train.py` of one step.
"""

import argparse
import io
import math
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from machine import REPOSITORY, instructions, machine_description, print_result, run_script
from results import RESULTS, argument_parser, publish

BASELINE = {"batch": 32, "context": 128, "width": 128, "layers": 2, "vocabulary": 50_257}
POINTS = {
    "batch": [1, 4, 16, 64, 256],
    "context": [64, 128, 256, 512, 1024],
    "width": [64, 128, 256, 512],
    "layers": [1, 2, 4, 6],
    "vocabulary": [1_000, 5_000, 20_000, 50_257, 100_000],
}
WARM_UP = 2  # steps that are not counted

Sizes = dict[str, dict[int, dict[str, float]]]  # size -> value -> seconds and peak bytes of a step


def step_seconds(sizes: dict[str, int], steps: int) -> float:
    """Median seconds of a training step as in a run, on random tokens."""
    from minigpt.config import compose_config, share_cores

    share_cores()
    import torch

    from minigpt.config import build
    from minigpt.model.gpt import GPTConfig
    from minigpt.model.loss import has_bfloat16_instructions
    from minigpt.training.lit_gpt import LitGPT
    from minigpt.training.memory import keep_freed_memory
    from minigpt.training.optimizer import OptimizerConfig, make_optimizer
    from minigpt.training.schedule import SchedulerConfig

    keep_freed_memory(True)
    cfg = compose_config(
        ["experiment=baseline", f"model.block_size={sizes['context']}",
         f"model.n_embd={sizes['width']}", f"model.n_layer={sizes['layers']}",
         f"model.vocab_size={sizes['vocabulary']}"]
    )  # fmt: skip
    lit = LitGPT(
        build(GPTConfig, "model", cfg.model), build(OptimizerConfig, "optimizer", cfg.optimizer),
        build(SchedulerConfig, "scheduler", cfg.scheduler), {}, {}, cfg.loss, 0.0, cfg.seed,
    )  # fmt: skip
    optimizer = make_optimizer(lit.optimizer_config, lit.net)
    seconds = []
    for _ in range(WARM_UP + steps):
        tokens = torch.randint(sizes["vocabulary"], (sizes["batch"], sizes["context"] + 1))
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16_instructions()):
            loss = lit.loss((tokens[:, :-1], tokens[:, 1:]))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(lit.net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[WARM_UP:])


def one_step_seconds(root: str) -> float:
    """Seconds of a whole `python train.py` of one step: imports, setup, step, checkpoint."""
    command = [sys.executable, str(REPOSITORY / "train.py"), "trainer.max_steps=1",
               "trainer.limit_test_batches=1", f"data.root={root}/tokens"]  # fmt: skip
    start = time.perf_counter()
    process = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if process.returncode:
        sys.exit(process.stderr)
    return time.perf_counter() - start


def exponent(points: list[tuple[int, float]]) -> float:
    """The p of y = a x^p that fits best: the slope of the logarithms by least squares."""
    xs, ys = [math.log(x) for x, _ in points], [math.log(y) for _, y in points]
    return statistics.linear_regression(xs, ys).slope


def measure(keys: list[str], steps: int, rounds: int) -> Sizes:
    """Medians over all rounds."""
    raw: dict[str, dict[int, list[dict[str, Any]]]] = {k: {v: [] for v in POINTS[k]} for k in keys}
    with tempfile.TemporaryDirectory() as root:
        for _ in range(rounds):
            for key in keys:
                for value in POINTS[key]:
                    sizes = [f"{k}={v}" for k, v in {**BASELINE, key: value}.items()]
                    result = run_script(__file__, "--point", *sizes, "--steps", str(steps),
                                        folder=root)  # fmt: skip
                    raw[key][value].append(result)
                    print(key, value, result, flush=True)
    return {
        key: {
            value: {m: statistics.median(r[m] for r in rows) for m in ("seconds", "peak")}
            for value, rows in values.items()
        }
        for key, values in raw.items()
    }


def tokens_per_step(key: str, value: int) -> int:
    sizes = {**BASELINE, key: value}
    return sizes["batch"] * sizes["context"]


def table(results: Sizes) -> str:
    lines = ["| | | ms a step | tokens a second | peak MiB | time grows as | memory grows as |",
             "|---|---:|---:|---:|---:|---:|---:|"]  # fmt: skip
    for key, values in results.items():
        previous = None
        for value, row in values.items():
            growth = ["", ""]
            if previous is not None:
                growth = [
                    f"{key}^{exponent([(previous, values[previous][m]), (value, row[m])]):.2f}"
                    for m in ("seconds", "peak")
                ]
            rate = tokens_per_step(key, value) / row["seconds"]
            lines.append(
                f"| {key} | {value:,} | {row['seconds'] * 1e3:,.1f} | {rate:,.0f} "
                f"| {row['peak'] / 2**20:,.0f} | {growth[0]} | {growth[1]} |"
            )
            previous = value
        overall = [exponent([(v, r[m]) for v, r in values.items()]) for m in ("seconds", "peak")]
        lines.append(f"| **{key}, overall** | | | | | **{key}^{overall[0]:.2f}** "
                     f"| **{key}^{overall[1]:.2f}** |")  # fmt: skip
    return "\n".join(lines)


def plot(results: Sizes) -> str:
    """SVG with a column for each size: tokens per second above, memory below."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.hashsalt"] = "minigpt"
    figure = Figure(figsize=(2.6 * len(results), 4.6), layout="constrained")
    axes = figure.subplots(2, len(results), squeeze=False)
    for i, (key, values) in enumerate(results.items()):
        speed = [tokens_per_step(key, v) / row["seconds"] for v, row in values.items()]
        memory = [row["peak"] / 2**20 for row in values.values()]
        for ax, ys, label in ((axes[0][i], speed, "tokens a second"), (axes[1][i], memory, "MiB")):
            ax.plot(list(values), ys, marker="o", color="#0072B2")
            ax.set_xscale("log", base=2)
            ax.set_yscale("log")
            ax.set_xticks(list(values), [f"{v:,}" for v in values], rotation=45)
            ax.minorticks_off()
            ax.set_yticks([y for y in (500, 1000, 2000, 5000, 10000, 20000, 50000)
                           if min(ys) / 1.6 <= y <= max(ys) * 1.6])  # fmt: skip
            ax.yaxis.set_major_formatter("{x:,.0f}")
            ax.grid(alpha=0.3)
            if i == 0:
                ax.set_ylabel(label)
        axes[1][i].set_xlabel(key)
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def main() -> None:
    parser = argument_parser(__doc__, rounds=2)
    parser.add_argument("--steps", type=int, default=5, help="timed steps of each point")
    parser.add_argument("--keys", nargs="+", choices=POINTS, default=list(POINTS))
    parser.add_argument("--point", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.rounds < 1 or args.steps < 1:
        parser.error("--rounds and --steps must be at least 1")
    if args.point:
        sizes = {key: int(value) for key, _, value in (p.partition("=") for p in args.point)}
        print_result({"seconds": step_seconds(sizes, args.steps)})
        return
    results = measure(args.keys, args.steps, args.rounds)
    with tempfile.TemporaryDirectory() as root:
        one_step_seconds(root)  # prepares the token store
        starts = [one_step_seconds(root) for _ in range(3)]
    page = f"""# How a training step grows

`python benchmarks/growth.py --rounds {args.rounds} --steps {args.steps}` on
{machine_description()} ({", ".join(instructions())}).

One size changes at a time, starting from report B's baseline (batch 32, context 128, width 128,
2 layers, vocabulary 50,257). Figures are medians of {args.steps} steps and {args.rounds} round(s),
each point in a process of its own. Exponents are those of the best power law: between a row and the
row above, and over all rows. Memory is the peak of the whole process; Python and torch take about
300 MiB of it.

![Tokens per second and memory over each size](growth.svg)

{table(results)}

A whole `python train.py trainer.max_steps=1 trainer.limit_test_batches=1` with a prepared token
store takes {statistics.median(starts):.1f} s ({min(starts):.1f} to {max(starts):.1f}).

[log.md](../log.md#what-bends-the-growth-of-a-step) explains the bends in the curves.
"""
    publish("growth", page, args.stdout)
    if not args.stdout:
        (RESULTS / "growth.svg").write_text(plot(results), "utf-8")


if __name__ == "__main__":
    main()
