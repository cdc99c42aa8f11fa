"""Times a training step of this project beside a plain dense float32 loop, in one run.

    python benchmarks/train_step.py             writes docs/results/speed.md
    python benchmarks/train_step.py --rounds 1 --steps 2 --configs mini --stdout

Each side of each configuration lives in a process of its own, so that peak memory is its own; the
sides take turns, and what is compared is the ratio within each round.
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parent.parent

# The experiments whose steps are timed, as a user would run them.
CONFIGS = {
    "mini": ["experiment=memorize"],
    "base": ["experiment=baseline", "data=sample", "data.batch_size=32", "data.stride=1"],
    "wide": ["experiment=wider", "data=sample", "data.batch_size=16", "data.stride=1"],
}
SIDES = ("plain", "minigpt")
WARM_UP = 5


def plain_seconds(overrides: list[str], steps: int) -> list[float]:
    """A dense float32 loop as one would write it first: all logits, AdamW, clipping."""
    import torch
    import torch.nn.functional as F

    from minigpt.config import compose_config
    from minigpt.model.gpt import GPT
    from minigpt.training.build import build_data

    cfg = compose_config(overrides)
    data, config = build_data(cfg)
    net = GPT(config)
    optimizer = torch.optim.AdamW(net.parameters(), cfg.optimizer.lr)
    batches = iter(data.train_dataloader())
    seconds = []
    for _ in range(WARM_UP + steps):
        inputs, targets = next(batches)
        start = time.perf_counter()
        logits = net(inputs)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        loss.item()
        seconds.append(time.perf_counter() - start)
    return seconds[WARM_UP:]


def minigpt_seconds(overrides: list[str], steps: int) -> list[float]:
    """`train.py`'s own objects under Lightning, from one batch's end to the next's."""
    from minigpt.config import compose_config, share_cores

    share_cores()
    import lightning.pytorch as pl

    from minigpt.training.build import build_run

    class Clock(pl.Callback):
        def __init__(self) -> None:
            self.ends: list[float] = []

        def on_train_batch_end(self, *_: Any) -> None:
            self.ends.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        cfg = compose_config(
            [
                *overrides,
                f"run_dir={folder}",
                "trainer.max_epochs=-1",
                "trainer.limit_val_batches=0",
                f"trainer.max_steps={WARM_UP + steps}",
                "~callbacks.best",
                "~callbacks.last",
            ]
        )
        run = build_run(cfg)
        clock = Clock()
        run.trainer.callbacks.append(clock)
        run.trainer.fit(run.lit, run.data)
    return [b - a for a, b in zip(clock.ends[WARM_UP - 1 :], clock.ends[WARM_UP:], strict=False)]


def measure(side: str, name: str, steps: int, root: str) -> dict[str, Any]:
    """One side in a process of its own: median seconds a step, and the process's peak memory."""
    command = [sys.executable, __file__, "--side", side, "--configs", name, "--steps", str(steps)]
    found = subprocess.run(
        [*command, "--root", root], capture_output=True, text=True, check=False, cwd=root
    )
    if found.returncode:
        sys.exit(f"{side} {name} failed:\n{found.stderr}")
    return dict(json.loads(found.stdout.splitlines()[-1]))


def run_side(side: str, name: str, steps: int, root: str) -> None:
    overrides = [*CONFIGS[name], f"data.root={root}"]
    seconds = {"plain": plain_seconds, "minigpt": minigpt_seconds}[side](overrides, steps)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": statistics.median(seconds), "peak": peak}))


def table(results: dict[str, list[dict[str, dict[str, Any]]]]) -> str:
    """Markdown: medians over the rounds, and the ratios' spread."""
    lines = [
        "| configuration | plain loop, ms | minigpt, ms | faster by (median, min to max) "
        "| plain loop, MiB | minigpt, MiB | memory |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, rounds in results.items():
        ms = {s: statistics.median(r[s]["seconds"] for r in rounds) * 1e3 for s in SIDES}
        mib = {s: statistics.median(r[s]["peak"] for r in rounds) / 2**20 for s in SIDES}
        ratios = sorted(r["plain"]["seconds"] / r["minigpt"]["seconds"] for r in rounds)
        lines.append(
            f"| {name} | {ms['plain']:,.1f} | {ms['minigpt']:,.1f} "
            f"| {statistics.median(ratios):.2f}x ({ratios[0]:.2f} to {ratios[-1]:.2f}) "
            f"| {mib['plain']:,.0f} | {mib['minigpt']:,.0f} | {mib['minigpt'] / mib['plain']:.0%} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=0, help="0: enough for each configuration")
    parser.add_argument("--configs", nargs="+", choices=CONFIGS, default=list(CONFIGS))
    parser.add_argument("--stdout", action="store_true", help="print only, write no page")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--root", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        run_side(args.side, args.configs[0], args.steps, args.root)
        return
    results: dict[str, list[dict[str, dict[str, Any]]]] = {name: [] for name in args.configs}
    with tempfile.TemporaryDirectory() as root:
        for _ in range(args.rounds):
            for name in args.configs:
                steps = args.steps or (60 if name == "mini" else 6)
                results[name].append({s: measure(s, name, steps, root) for s in SIDES})
    import torch

    page = f"""# Speed of a training step

`python benchmarks/train_step.py` on {torch.get_num_threads()} threads of {cpu()}, torch
{torch.__version__.partition("+")[0]}, Python {platform.python_version()}. Both sides train the same
network on the same batches, with dropout, AdamW and clipping, each in a process of its own, in
turns, {args.rounds} rounds. The plain loop is dense float32; minigpt is `train.py`'s own objects
under Lightning with every default callback and logger but the checkpoints. The ratio is of all
that minigpt does by itself: its loss, the fused optimizer, and an allocator told to keep what is
freed. Memory is the peak of the whole process, Python and torch included.

{table(results)}
"""
    print(page)
    if not args.stdout:
        (REPOSITORY / "docs/results/speed.md").write_text(page, "utf-8")


def cpu() -> str:
    for line in (
        Path("/proc/cpuinfo").read_text().splitlines() if platform.system() == "Linux" else []
    ):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
