"""Time the head and its loss, forward and backward, by every method that the CPU can run.

    python benchmarks/loss.py             writes docs/results/loss.md and loss.json
    python benchmarks/loss.py --avx2      the same processor without AVX-512, a section apart
    python benchmarks/loss.py --rounds 1 --stdout

It shows whether `loss=auto` chooses the fastest method. The methods take turns in one process.
"""

import argparse
import time
from typing import Any

from machine import hold_to_avx2, instructions, kind, machine_description
from models import EXPERIMENTS
from results import argument_parser, markdown_table, publish, spread, store_kind, stored_kinds

TOO_SLOW = 5  # times the fastest method: not measured in later rounds


def measure(rounds: int) -> dict[str, Any]:
    """Experiment -> method -> milliseconds of each round, and what `loss=auto` chooses."""
    import torch

    from minigpt.model.loss import DEVICES, METHODS, resolve_method
    from minigpt.training.memory import keep_freed_memory

    keep_freed_memory(True)  # as train.py has it
    methods = [m for m in METHODS if m != "auto" and "cpu" in DEVICES.get(m, ("cpu",))]
    configs: dict[str, dict[str, list[float]]] = {}
    for experiment in EXPERIMENTS:
        tensors, targets = problem(experiment)
        times: dict[str, list[float]] = {method: [] for method in methods}
        for number in range(2 + rounds):  # the first warms up, the second shows what is too slow
            for method in list(times):
                times[method].append(milliseconds(tensors, targets, method))
            if number == 1:
                limit = TOO_SLOW * min(values[1] for values in times.values())
                times = {m: values for m, values in times.items() if values[1] <= limit}
        configs[experiment] = {method: values[2:] for method, values in times.items()}
        print(experiment, configs[experiment], flush=True)
    return {
        "machine": machine_description(),
        "instructions": instructions(),
        "auto": resolve_method("auto", torch.device("cpu")),
        "configs": configs,
    }


def problem(experiment: str) -> tuple[list[Any], Any]:
    """Random [hidden, weight, bias] and targets of an experiment's shape."""
    import torch

    from minigpt.config import build, compose_config, plain
    from minigpt.model.gpt import GPTConfig

    cfg = compose_config(EXPERIMENTS[experiment])
    c = build(GPTConfig, "model", {**plain(cfg.model), "vocab_size": 50_257})
    torch.manual_seed(1)
    rows = cfg.data.batch_size * c.block_size
    hidden = torch.randn(rows, c.n_embd)
    weight = torch.randn(c.vocab_size, c.n_embd) * 0.02
    bias = torch.zeros(c.vocab_size) if c.head_bias else None
    return [hidden, weight, bias], torch.randint(c.vocab_size, (rows,))


def milliseconds(tensors: list[Any], targets: Any, method: str) -> float:
    """Of one forward and backward pass."""
    from minigpt.model.loss import next_token_loss

    leaves: list[Any] = [None if t is None else t.detach().requires_grad_() for t in tensors]
    hidden, weight, bias = leaves
    start = time.perf_counter()
    next_token_loss(hidden, weight, bias, targets, method).backward()
    return 1e3 * (time.perf_counter() - start)


def page(stored: dict[str, Any]) -> str:
    sections = []
    for name, results in stored.items():
        auto, configs = results["auto"], results["configs"]
        header = ["", *configs]
        lines = [header, ["---"] * len(header)]
        methods = dict.fromkeys(method for times in configs.values() for method in times)
        for method in methods:
            ms = [spread(times[method], ",.0f") if method in times else f"over {TOO_SLOW} times"
                  for times in configs.values()]  # fmt: skip
            chosen = " (`auto`)" if method == auto else ""
            lines.append([f"`{method}`{chosen}, ms", *ms])
        for method in methods:
            if method != auto:
                ratios = [ratio(times, method, auto) for times in configs.values()]
                lines.append([f"**`{auto}` is faster than `{method}` by**", *ratios])
        sections.append(
            f"## Processor {name}\n\n{results['machine']}; {', '.join(results['instructions'])}."
            f"\n\n{markdown_table(lines)}\n"
        )
    return f"""# The paths of the loss, timed

`python benchmarks/loss.py`: head and loss alone, forward and backward, at the shapes of the three
experiments. The methods take turns in one process; the table gives medians with the minimum and the
maximum. A method that takes over {TOO_SLOW} times as long as the fastest is left out. What the
methods are is in [the paths of the loss](../design/loss-paths.md).

{chr(10).join(sections)}"""


def ratio(times: dict[str, list[float]], method: str, auto: str) -> str:
    """Times of a method divided by those of the one that `auto` chooses, round by round."""
    if method not in times or auto not in times:
        return "-"
    return spread([a / b for a, b in zip(times[method], times[auto], strict=True)])


def main() -> None:
    parser = argument_parser(__doc__, rounds=9)
    parser.add_argument("--avx2", action="store_true", help="do without AVX-512")
    args: argparse.Namespace = parser.parse_args()
    if args.avx2:
        hold_to_avx2()
    results = measure(args.rounds)
    if args.stdout:
        publish("loss", page({kind(): results}), True)
        return
    store_kind("loss", kind(), results)
    publish("loss", page(stored_kinds("loss")), False)


if __name__ == "__main__":
    main()
