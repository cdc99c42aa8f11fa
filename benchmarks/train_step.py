"""Time a training step beside a plain loop, the transformers library and litgpt.

    python benchmarks/train_step.py             five rounds; writes docs/results/speed.md
    python benchmarks/train_step.py --add --rounds 2      two more of the same, also after a Ctrl-C
    python benchmarks/train_step.py --avx2      the same processor without AVX-512, a section apart
    python benchmarks/train_step.py --rounds 0  write the page again, measure nothing
    python benchmarks/train_step.py --rounds 1 --seconds 0.5 --configs mini --stdout

speed.json keeps every round of each kind of processor, and a run replaces only those of its own
kind. Each side runs in a process of its own, which gives its peak memory. The sides take turns, and
only times of the same round are compared. A library that is not installed is left out; the pins of
litgpt do not fit beside the project's, so install it apart:

    pip install --no-deps --target /tmp/litgpt litgpt jsonargparse psutil
    PYTHONPATH=/tmp/litgpt python benchmarks/train_step.py
"""

import argparse
import importlib.metadata
import os
import sys
import tempfile
from typing import Any

from machine import (
    hold_to_avx2,
    instructions,
    kind,
    machine_description,
    print_result,
    product_rate,
    run_script,
)
from models import EXPERIMENTS
from results import argument_parser, publish, store_kind, stored_kinds
from speed_page import page
from train_sides import (
    EAGER_FLOAT32,
    RIVALS,
    empty_step_seconds,
    loss_curve,
    minigpt_step,
    rival_step,
)

CURVE_STEPS = 300
EMPTY_STEPS = 1000
TOO_SLOW = 10  # times the fastest side's step: not measured again

Row = dict[str, Any]  # one round: side -> its result, and the machine's product rates


def run_side(side: str, experiment: str, seconds: float, root: str) -> None:
    """Measure one side in this process and print its result."""
    from minigpt.config import share_cores

    share_cores()  # for every side, as train.py does it
    overrides = [*EXPERIMENTS[experiment], f"data.root={root}"]
    if side == "rate":
        print_result({p: product_rate(p) for p in ("float32", "bfloat16")})
    elif side in ("default", "reference"):
        losses = loss_curve([f"trainer={side}", f"data.root={root}"], CURVE_STEPS)
        print_result({"losses": losses})
    elif side in ("bare", "lightning"):
        print_result({"seconds": empty_step_seconds(EMPTY_STEPS, root, side == "lightning")})
    elif side == "minigpt":
        print_result(minigpt_step(overrides, seconds))
    else:
        print_result(rival_step(RIVALS[side], overrides, seconds))


def versions() -> dict[str, str | None]:
    """Library -> its installed version, or None."""
    libraries = dict.fromkeys(r.model for r in RIVALS.values() if r.model != "plain")
    installed = {r.model for r in RIVALS.values() if r.is_installed}
    return {x: importlib.metadata.version(x) if x in installed else None for x in libraries}


def empty_results() -> dict[str, Any]:
    """The results of one kind of processor, in the layout of speed.json, before any round."""
    return {
        "machine": machine_description(),
        "instructions": instructions(),
        "libraries": versions(),
        "commits": [],  # the code that was measured
        "configs": {},  # configuration -> its rounds
        "lightning": [],  # seconds of an empty step, one pair a round
        "curve": {},
    }


def continued(stored: dict[str, Any] | None, experiments: list[str], add: bool) -> dict[str, Any]:
    """Stored results without those to be replaced; exits if rounds cannot be added to them."""
    new = empty_results()
    fields = ("machine", "instructions", "libraries")
    same = stored is not None and all(stored[key] == new[key] for key in fields)
    if not add:
        kept = stored["configs"] if stored and same else {}
        new["configs"] = {name: c for name, c in kept.items() if name not in experiments}
        if new["configs"] and stored:
            new["commits"] = stored["commits"]
        return new
    if stored is None or not same:
        of = stored["machine"] if stored else "none"
        sys.exit(
            f"--add: the stored rounds are of another machine or libraries ({of}); leave it out"
        )
    return stored


def slow_sides(rows: list[Row]) -> set[str]:
    """The sides that took over TOO_SLOW times the fastest in a configuration's first round.

    Never one in eager float32: a row of the table is about those.
    """
    if not rows:
        return set()
    times = {side: rows[0][side]["seconds"] for side in ("minigpt", *RIVALS) if side in rows[0]}
    limit = TOO_SLOW * min(times.values())
    return {side for side, t in times.items() if t > limit and side not in EAGER_FLOAT32}


def measure(results: dict[str, Any], args: argparse.Namespace) -> None:
    """Add rounds to results, and store them after each round of a configuration."""
    from minigpt.version import code_commit

    commit = code_commit()
    if commit not in results["commits"]:
        results["commits"].append(commit)
    for library, version in results["libraries"].items():
        if version is None:
            print(f"{library} is not installed: its sides are left out", file=sys.stderr)
    with tempfile.TemporaryDirectory() as root:
        # What one round compiles the next ones load.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = f"{root}/inductor"

        def measure_side(side: str, experiment: str = "mini") -> dict[str, Any]:
            arguments = ["--side", side, "--configs", experiment, "--seconds", str(args.seconds),
                         "--root", root]  # fmt: skip
            result = run_script(__file__, *arguments, folder=root)
            print(experiment, side, {k: v for k, v in result.items() if k != "losses"}, flush=True)
            return result

        def store() -> None:
            if not args.stdout:
                store_kind("speed", kind(), results)

        sides = ["minigpt", *(title for title, rival in RIVALS.items() if rival.is_installed)]
        for i in range(args.rounds):
            for name in args.configs:
                rows = results["configs"].setdefault(name, [])
                skipped = set[str]().union(*map(slow_sides, results["configs"].values()))
                turn = [side for side in sides[i:] + sides[:i] if side not in skipped]
                row = {side: measure_side(side, name) for side in turn}
                row["rate"] = measure_side("rate", name)
                rows.append(row)  # whole: an interrupted round is not kept
                store()
            pair = {side: measure_side(side)["seconds"] for side in ("bare", "lightning")}
            results["lightning"].append(pair)
            store()
        if not results["curve"]:
            for side in ("default", "reference"):
                results["curve"][side] = measure_side(side)["losses"]
            store()


def main() -> None:
    parser = argument_parser(__doc__, rounds=5)
    parser.add_argument("--add", action="store_true", help="keep the rounds stored so far")
    parser.add_argument("--avx2", action="store_true", help="do without AVX-512, all sides")
    parser.add_argument("--seconds", type=float, default=2.0, help="of timed steps for each side")
    parser.add_argument("--configs", nargs="+", choices=EXPERIMENTS, default=list(EXPERIMENTS))
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--root", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.rounds < 0 or args.seconds <= 0:
        parser.error("--rounds must be at least 0 and --seconds above 0")
    if args.side:
        run_side(args.side, args.configs[0], args.seconds, args.root)
        return
    if args.avx2:
        hold_to_avx2()
    stored = stored_kinds("speed")
    if args.rounds:
        results = continued(stored.get(kind()), args.configs, args.add)
        measure(results, args)
        stored = {kind(): results} if args.stdout else stored_kinds("speed")
    if not stored:
        parser.error("nothing is stored yet: give --rounds")
    publish("speed", page(stored), args.stdout)


if __name__ == "__main__":
    main()
