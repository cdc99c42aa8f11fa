"""Time a training step with each modern part of the network beside the plain network.

    python benchmarks/parts.py            writes docs/results/parts.md
    python benchmarks/parts.py --rounds 1 --batch-size 2 --stdout

Report B's baseline over 8,192 words. The networks take turns in one process, and only times of the
same round are compared.
"""

import time
from collections.abc import Callable
from typing import Any

from machine import machine_description
from results import argument_parser, markdown_table, publish, spread

VOCAB_SIZE = 8_192
PARTS = (  # presets in conf/ablation
    "rotary", "rms_norm", "relu2", "swiglu", "qk_norm", "zero_init", "softcap", "bigrams",
    "shortcuts",
)  # fmt: skip
STEPS = 5  # of each network in a round; the median counts

Step = Callable[[], None]


def make_step(overrides: list[str], batch_size: int) -> tuple[Step, int]:
    """A training step as in a run, on random tokens, and the number of parameters."""
    import torch

    from minigpt.config import build, compose_config
    from minigpt.model.gpt import GPT, GPTConfig
    from minigpt.model.loss import has_bfloat16_instructions, next_token_loss, resolve_method

    cfg = compose_config(["experiment=baseline", f"model.vocab_size={VOCAB_SIZE}", *overrides])
    torch.manual_seed(1)
    net = GPT(build(GPTConfig, "model", cfg.model))
    tokens = torch.randint(VOCAB_SIZE, (batch_size, net.config.block_size + 1))
    optimizer = torch.optim.AdamW(net.parameters(), cfg.optimizer.lr, fused=True)
    method = resolve_method("auto", torch.device("cpu"))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16_instructions()):
            hidden = net.hidden(tokens[:, :-1])
            loss = next_token_loss(hidden, net.head.weight, net.head.bias, tokens[:, 1:], method,
                                   softcap=net.config.logit_softcap)  # fmt: skip
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step, sum(p.numel() for p in net.parameters())


def milliseconds(step: Step) -> float:
    """Median of several steps."""
    times = []
    for _ in range(STEPS):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return 1e3 * sorted(times)[STEPS // 2]


def measure(rounds: int, batch_size: int) -> dict[str, dict[str, Any]]:
    """Network -> milliseconds of a step in each round, and parameters."""
    from minigpt.config import share_cores

    share_cores()
    from minigpt.training.memory import keep_freed_memory

    keep_freed_memory(True)  # as train.py has it
    networks = {"plain": [], **{name: [f"+ablation={name}"] for name in PARTS}}
    made = {name: make_step(overrides, batch_size) for name, overrides in networks.items()}
    results: dict[str, dict[str, Any]] = {
        name: {"ms": [], "parameters": parameters} for name, (_, parameters) in made.items()
    }
    for number in range(1 + rounds):  # the first warms up
        for name, (step, _) in made.items():
            ms = milliseconds(step)
            if number:
                results[name]["ms"].append(ms)
    return results


def page(machine: str, results: dict[str, dict[str, Any]]) -> str:
    plain = results["plain"]
    rows = [["network", "parameters", "ms a step", "times the plain step"], ["---"] * 4]
    for name, result in results.items():
        ratios = [a / b for a, b in zip(result["ms"], plain["ms"], strict=True)]
        more = result["parameters"] - plain["parameters"]
        parameters = f"{more:+,}" if name != "plain" else f"{result['parameters']:,}"
        rows.append([name, parameters, spread(result["ms"], ",.0f"), spread(ratios)])
    return f"""# What the modern parts cost

`python benchmarks/parts.py`: a training step of report B's baseline over {VOCAB_SIZE:,} words,
plain and with one [part](../model.md) at a time, by its preset in `conf/ablation`. The networks
take turns in one process; the table gives medians of the rounds with the minimum and the maximum,
and parameters beyond the plain network's. {machine}.

{markdown_table(rows)}
"""


def main() -> None:
    parser = argument_parser(__doc__, rounds=9)
    parser.add_argument("--batch-size", type=int, default=32, help="sequences of 128 tokens")
    args = parser.parse_args()
    results = measure(args.rounds, args.batch_size)
    publish("parts", page(machine_description(), results), args.stdout)


if __name__ == "__main__":
    main()
