"""Measure whether the best learning rate of a narrow network suits a wide one.

    python benchmarks/transfer.py              writes docs/results/transfer.md and its pictures
    python benchmarks/transfer.py --seeds 3 --jobs 7    searches of 7 networks at a time, for a GPU
    python benchmarks/transfer.py --widths 16 32 --steps 10 --rates 3 --stdout
    python benchmarks/transfer.py --stdout model.zero_init=true

Networks and text are those of +sweep=transfer. Each width is trained under both parametrizations
at learning rates spaced by 2; where the best is the lowest or the highest of them, the search goes
on beyond it; then at the rates a factor of sqrt 2 from the best. At the base width both
parametrizations are the same network, which is trained once.
"""

import contextlib
import io
import math
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from growth import step_seconds
from machine import instructions, machine_description
from results import RESULTS, argument_parser, publish
from transfer_page import BASE_WIDTH, BATCH, CHECK_RATE, CONTEXT, NAMES, page, plot

from minigpt.config import share_cores

MIDDLE = 2e-3  # of the learning rates
MOST_RATES = 14  # of one network
RUN_SECONDS = 3.0  # of a run beside its steps: building, validation, test, files

Losses = dict[str, dict[float, float]]  # seed -> learning rate -> held-out loss


@dataclass(frozen=True)
class Plan:
    """What is trained."""

    widths: list[int]
    seeds: int
    steps: int
    rates: int  # spaced by 2, around MIDDLE
    overrides: list[str]  # of the networks' and the text's settings
    folder: Path
    jobs: int  # searches at a time

    @property
    def networks(self) -> list[tuple[str, int]]:
        """(parametrization, width), the widest first."""
        return [
            (name, width)
            for width in sorted(self.widths, reverse=True)
            for name in (NAMES if width != BASE_WIDTH else NAMES[:1])
        ]

    @property
    def settings(self) -> list[str]:
        return [
            "+sweep=transfer", f"budget.tokens={self.steps * BATCH * CONTEXT}",
            f"data.batch_size={BATCH}", f"model.block_size={CONTEXT}",
            f"model.base_width={BASE_WIDTH}", f"scheduler.warmup_steps={self.steps // 10}",
            f"data.root={self.folder}/tokens", "logger=none", "~callbacks.progress",
            "~callbacks.samples", *self.overrides,
        ]  # fmt: skip


def search(plan: Plan, name: str, width: int) -> Losses:
    """The losses at all rates that were tried."""
    losses: Losses = {str(seed): {} for seed in range(1, plan.seeds + 1)}
    for k in rates_to_try(plan.rates, losses):
        rate = MIDDLE * 2 ** (k / 2)
        for seed in losses:
            losses[seed][rate] = train(plan, name, width, rate, seed)
        print(f"{name} {width} {rate:.3g}: {[round(v[rate], 4) for v in losses.values()]}",
              flush=True)  # fmt: skip
    return losses


def rates_to_try(planned: int, losses: Losses) -> Iterator[int]:
    """Powers of sqrt 2, each to be trained before the next is asked for."""
    first = -2 * (planned // 2)
    tried = list(range(first, first + 2 * planned, 2))
    yield from tried
    while len(tried) < MOST_RATES:
        mean = {
            k: sum(by_rate[MIDDLE * 2 ** (k / 2)] for by_rate in losses.values()) for k in tried
        }
        best = min(tried, key=lambda k: mean[k])
        if best == min(tried):
            further = [best - 2]
        elif best == max(tried):
            further = [best + 2]
        else:
            further = [k for k in (best - 1, best + 1) if k not in tried]
        if not further:
            return
        yield from further
        tried += further


def train(plan: Plan, name: str, width: int, rate: float, seed: str) -> float:
    """The held-out loss of one run; infinite if it diverged."""
    from minigpt.commands.train import train_run
    from minigpt.runs.run_folder import RunFolder
    from minigpt.runs.summary import Status

    folder = plan.folder / f"{name}-{width}-{rate:.6f}-{seed}"
    run = [f"model.parametrization={name}", f"model.n_embd={width}", f"optimizer.lr={rate}",
           f"seed={seed}"]  # fmt: skip
    error = None
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            train_run([*plan.settings, *run], folder)
        except Exception as caught:
            error = caught
    summary = RunFolder(folder).read_summary()
    if error is not None and summary.status is not Status.DIVERGED:
        raise error
    return summary.best.val_loss if summary.best and error is None else math.inf


def estimated_seconds(plan: Plan, vocabulary: int) -> float:
    """How long the search takes, from a few steps of each width."""
    total = 0.0
    for _, width in plan.networks:
        sizes = {"batch": BATCH, "context": CONTEXT, "width": width, "layers": 2,
                 "vocabulary": vocabulary}  # fmt: skip
        runs = (plan.rates + 2) * plan.seeds
        total += runs * (RUN_SECONDS + plan.steps * step_seconds(sizes, 3))
    return total


def measure(plan: Plan, check_steps: int) -> tuple[dict[str, Any], str]:
    """The figures of the page, and the plot of the coordinate check."""
    from minigpt.commands.coordinates import setting_of
    from minigpt.evaluation.coordinates import coordinates
    from minigpt.reports.coordinates_page import coordinate_table, coordinates_plot, summary

    setting = setting_of([*plan.settings, f"optimizer.lr={CHECK_RATE}"], check_steps)
    if plan.jobs == 1:
        minutes = estimated_seconds(plan, setting.model.vocab_size) / 60
        print(f"about {minutes:.0f} minutes, more where the best rate is at an edge", flush=True)
    started = time.perf_counter()
    checks = coordinates(setting, plan.widths)
    seconds = time.perf_counter() - started
    started = time.perf_counter()
    losses: dict[str, dict[str, Losses]] = {name: {} for name in NAMES}
    with ProcessPoolExecutor(plan.jobs, multiprocessing.get_context("spawn")) as pool:
        searches = [pool.submit(search, plan, name, width) for name, width in plan.networks]
    for (name, width), found in zip(plan.networks, searches, strict=True):
        losses[name][str(width)] = found.result()
        if width == BASE_WIDTH:
            losses["mup"][str(width)] = losses[name][str(width)]
    figures = {
        "machine": f"{machine_description()} ({', '.join(instructions())})",
        "overrides": plan.overrides, "widths": plan.widths, "seeds": plan.seeds,
        "steps": plan.steps, "rates": plan.rates, "jobs": plan.jobs, "check_steps": check_steps,
        "vocabulary": setting.model.vocab_size, "check_seconds": seconds,
        "search_seconds": time.perf_counter() - started,
        "check_summary": summary(checks),
        "check": {check.parametrization: coordinate_table(check) for check in checks},
        "losses": {n: {w: _keyed(v) for w, v in by.items()} for n, by in losses.items()},
    }  # fmt: skip
    return figures, coordinates_plot(checks, ink="#444444")


def _keyed(losses: Losses) -> dict[str, dict[str, float | None]]:
    """As JSON holds it: text for the rates, null for a run that diverged."""
    return {
        seed: {repr(rate): loss if math.isfinite(loss) else None for rate, loss in by_rate.items()}
        for seed, by_rate in losses.items()
    }


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--widths", nargs="+", type=int, default=[64, 128, 256, 512])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="networks at a time")
    parser.add_argument("--steps", type=int, default=300, help="of each run")
    parser.add_argument("--rates", type=int, default=5, help="learning rates spaced by 2")
    parser.add_argument("--check-steps", type=int, default=10, help="of the coordinate check")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="as for train.py")
    args = parser.parse_args()
    if len(args.widths) < 2 or args.seeds < 1 or args.rates < 3:
        parser.error("it takes at least two --widths, one of --seeds and three --rates")
    share_cores()  # before torch is imported
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(args.widths, args.seeds, args.steps, args.rates, args.overrides, Path(folder),
                    args.jobs)  # fmt: skip
        figures, check_plot = measure(plan, args.check_steps)
    publish("transfer", page(figures), args.stdout, figures)
    if not args.stdout:
        (RESULTS / "transfer.svg").write_text(plot(figures), "utf-8")
        (RESULTS / "transfer_coordinates.svg").write_text(check_plot, "utf-8")


if __name__ == "__main__":
    main()
