"""Time a training step beside a plain loop and the transformers library.

    python benchmarks/train_step.py             writes docs/results/speed.md and speed.json
    python benchmarks/train_step.py --rounds 1 --steps 2 --configs mini --stdout

Each side runs in a process of its own, which gives its peak memory. The sides take turns, and only
times of the same round are compared. Needs `transformers`.
"""

import argparse
import itertools
import json
import statistics
import tempfile
from typing import Any

from machine import machine_description, print_result, product_rate, run_script
from models import EXPERIMENTS
from results import argument_parser, markdown_table, publish, spread
from train_sides import SIDES, WARM_UP, empty_step_seconds, loss_curve

CURVE_STEPS = 300
EMPTY_STEPS = 1000

Row = dict[str, Any]  # one round: side -> its result, and the machine's product rate


def run_side(side: str, experiment: str, steps: int, root: str) -> None:
    """Measure one side in this process and print its result."""
    if side == "rate":
        print_result({"rate": product_rate()})
    elif side in ("default", "reference"):
        losses = loss_curve([f"trainer={side}", f"data.root={root}"], CURVE_STEPS)
        print_result({"losses": losses})
    elif side in ("bare", "lightning"):
        print_result({"seconds": empty_step_seconds(EMPTY_STEPS, root, side == "lightning")})
    elif side == "flops":
        print_result({"flops": flops_per_step(experiment, root)})
    else:
        seconds = SIDES[side][1]([*EXPERIMENTS[experiment], f"data.root={root}"], steps)
        timed = list(itertools.islice(seconds, WARM_UP, WARM_UP + steps))
        print_result({"seconds": statistics.median(timed)})


def flops_per_step(experiment: str, root: str) -> int:
    """Six operations per token and parameter of the blocks and the head; attention not counted."""
    from minigpt.config import compose_config
    from minigpt.model.gpt import count_parameters
    from minigpt.training.build import build_data

    cfg = compose_config([*EXPERIMENTS[experiment], f"data.root={root}"])
    _, model = build_data(cfg)
    parameters = count_parameters(model)
    tokens = cfg.data.batch_size * model.block_size
    return 6 * (parameters["blocks"] + parameters["head"]) * tokens


def measure(experiments: list[str], rounds: int, steps: int) -> dict[str, Any]:
    """All results, in the layout of speed.json. steps = 0 chooses a number for each experiment."""
    results: dict[str, Any] = {"machine": machine_description(), "rounds": rounds, "configs": {},
                               "curve": {}}  # fmt: skip
    with tempfile.TemporaryDirectory() as root:

        def measure_side(side: str, experiment: str, steps: int = 0) -> dict[str, Any]:
            arguments = ["--side", side, "--configs", experiment, "--steps", str(steps),
                         "--root", root]  # fmt: skip
            return run_script(__file__, *arguments, folder=root)

        rows: dict[str, list[Row]] = {name: [] for name in experiments}
        for _ in range(rounds):
            for name in experiments:
                n = steps or (60 if name == "mini" else 5)
                row: Row = {side: measure_side(side, name, n) for side in SIDES}
                row["rate"] = measure_side("rate", name)["rate"]
                rows[name].append(row)
                print(f"{name}: {json.dumps(row)}", flush=True)
        for name in experiments:
            flops = measure_side("flops", name)["flops"]
            results["configs"][name] = {"flops": flops, "rounds": rows[name]}
        for side in ("default", "reference"):
            results["curve"][side] = measure_side(side, "mini")["losses"]
        results["lightning"] = [
            {side: measure_side(side, "mini")["seconds"] for side in ("bare", "lightning")}
            for _ in range(max(rounds, 3))
        ]
    return results


def median(rows: list[Row], side: str, key: str) -> float:
    return statistics.median(row[side][key] for row in rows)


def speedup(rows: list[Row], *sides: str) -> str:
    """Seconds of the fastest of some sides divided by minigpt's, round by round."""
    ratios = [min(row[s]["seconds"] for s in sides) / row["minigpt"]["seconds"] for row in rows]
    return spread(ratios, ".2f")


def share_of_rate(rows: list[Row], flops: float) -> str:
    """minigpt's operations per second as a share of the machine's fastest product."""
    return spread([flops / r["minigpt"]["seconds"] / r["rate"] for r in rows], ".0%")


def table(results: dict[str, Any]) -> str:
    configs = [(c["rounds"], c["flops"]) for c in results["configs"].values()]
    lines = [["", *results["configs"]], ["---", *["---"] * len(configs)]]
    for side, (title, _) in SIDES.items():
        ms = [f"{median(rows, side, 'seconds') * 1e3:,.1f}" for rows, _ in configs]
        lines.append([f"{title}, ms a step", *ms])
    others = [side for side in SIDES if side != "minigpt"]
    for side in others:
        title = f"**faster than {SIDES[side][0]} by**"
        lines.append([title, *(speedup(rows, side) for rows, _ in configs)])
    fast = [side for side in others if side.endswith("_fast")]
    title = "**... than the better bf16 + compile**"
    lines.append([title, *(speedup(rows, *fast) for rows, _ in configs)])
    for side, (title, _) in SIDES.items():
        mib = [f"{median(rows, side, 'peak') / 2**20:,.0f}" for rows, _ in configs]
        lines.append([f"{title}, peak MiB", *mib])
    memory = [
        f"{median(r, 'minigpt', 'peak') / median(r, 'plain', 'peak'):.0%}" for r, _ in configs
    ]
    lines.append(["**memory, share of the plain loop's**", *memory])
    rates = [f"{statistics.median(r['rate'] for r in rows) / 1e9:,.0f}" for rows, _ in configs]
    lines.append(["fastest bfloat16 product, GFLOP/s", *rates])
    shares = [share_of_rate(rows, flops) for rows, flops in configs]
    lines.append(["**minigpt's share of that rate**", *shares])
    return markdown_table(lines)


def page(results: dict[str, Any]) -> str:
    ms = {s: [row[s] * 1e3 for row in results["lightning"]] for s in ("bare", "lightning")}
    extra = [b - a for a, b in zip(ms["bare"], ms["lightning"], strict=True)]
    curves = zip(results["curve"]["default"], results["curve"]["reference"], strict=True)
    difference = max(abs(default / reference - 1) for default, reference in curves)
    return f"""# Speed of a training step

`python benchmarks/train_step.py` on {results["machine"]}.

Every side trains a network of the same shape on the same batches, with dropout, AdamW and gradient
clipping. Each runs in a process of its own. The sides take turns, {results["rounds"]} rounds. The
table gives medians, and for ratios within a round also the minimum and the maximum.

- *plain loop*: dense float32, as one would write it first.
- *bf16 + compile*: `torch.autocast`, `torch.compile`, fused AdamW, all logits in memory.
- *transformers*: GPT-2 of that library; its head has no bias, while mini's has one.
- *minigpt*: the run of `train.py` under Lightning, with its default settings, callbacks and loggers
  but without checkpoints. As in `train.py`, waiting threads give up their core early.

Memory is the peak of the whole process, Python and torch included. Work is six operations per token
and parameter of the blocks and the head. The raw figures are in [speed.json](speed.json).

{table(results)}

A step without any work takes {spread(ms["lightning"], ".2f")} ms under Lightning, with
the default loggers and the default callbacks except checkpoints and alignment guard. In a plain
loop it takes {spread(ms["bare"], ".2f")} ms; the difference is {spread(extra, ".2f")} ms.

Over the first {CURVE_STEPS} steps of `python train.py`, the training loss averaged over ten steps
differs by at most {difference:.2%} from `trainer=reference` (dense float32, nothing fused) on the
same batches.
"""


def main() -> None:
    parser = argument_parser(__doc__, rounds=3)
    parser.add_argument("--steps", type=int, default=0, help="0: enough for each configuration")
    parser.add_argument("--configs", nargs="+", choices=EXPERIMENTS, default=list(EXPERIMENTS))
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--root", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.rounds < 1 or args.steps < 0:
        parser.error("--rounds must be at least 1 and --steps at least 0")
    if args.side:
        run_side(args.side, args.configs[0], args.steps, args.root)
        return
    results = measure(args.configs, args.rounds, args.steps)
    publish("speed", page(results), args.stdout, results)


if __name__ == "__main__":
    main()
