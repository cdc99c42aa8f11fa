"""docs/results/speed.md from the results of every kind of processor."""

import statistics
from typing import Any

from machine import HELD
from results import markdown_table, spread
from train_sides import EAGER_FLOAT32, RIVALS

Row = dict[str, Any]  # one round: side -> its result, and the machine's product rates

DENSE = "plain, float32"  # the side whose memory is the measure


def median(rows: list[Row], side: str, key: str) -> float:
    return statistics.median(row[side][key] for row in rows if side in row)


def milliseconds(rows: list[Row], side: str) -> str:
    times = [row[side]["seconds"] * 1e3 for row in rows if side in row]
    if not times:
        return ""
    note = f", {len(times)} of {len(rows)} rounds" if len(times) < len(rows) else ""
    return spread(times, ",.0f" if min(times) >= 100 else ",.1f") + note


def measured(rows: list[Row], sides: list[str]) -> list[str]:
    return [side for side in sides if any(side in row for row in rows)]


def fastest(rows: list[Row], sides: list[str]) -> str:
    return min(measured(rows, sides), key=lambda side: median(rows, side, "seconds"))


def speedup(rows: list[Row], sides: list[str]) -> str:
    """Seconds of the fastest of some sides divided by minigpt's, round by round."""
    return spread(
        [
            min(row[s]["seconds"] for s in sides if s in row) / row["minigpt"]["seconds"]
            for row in rows
        ]
    )


def share_of_rate(rows: list[Row]) -> str:
    """minigpt's operations per second, of the fastest product in the precision that it uses."""
    return spread(
        [
            row["minigpt"]["flops"] / row["minigpt"]["seconds"] / row["rate"][precision(row)]
            for row in rows
        ],
        ".0%",
    )


def precision(row: Row) -> str:
    """bfloat16 if the loss or the rest of minigpt's step multiplies in it."""
    own = row["minigpt"]
    return "bfloat16" if "bfloat16" in (own["loss"], own["precision"]) else "float32"


def memory_share(rows: list[Row]) -> str:
    return f"{median(rows, 'minigpt', 'peak') / median(rows, DENSE, 'peak'):.0%}"


def summary(stored: dict[str, Any]) -> str:
    """A row for each kind of processor and configuration."""
    lines = [["processor", "configuration", "minigpt, ms a step", "the best rival",
              "its ms a step", "**faster than the best rival by**",
              "**than the best eager float32 by**", "**share of the product rate**",
              "**memory, share of the dense eager step's**"], ["---"] * 9]  # fmt: skip
    for kind, results in stored.items():
        for name, rows in results["configs"].items():
            best = fastest(rows, list(RIVALS))
            lines.append(
                [f"{kind} ({', '.join(results['instructions'])})", name,
                 f"{median(rows, 'minigpt', 'seconds') * 1e3:,.1f}", best,
                 f"{median(rows, best, 'seconds') * 1e3:,.1f}", speedup(rows, list(RIVALS)),
                 speedup(rows, EAGER_FLOAT32), share_of_rate(rows), memory_share(rows)]
            )  # fmt: skip
    return markdown_table(lines)


def details(results: dict[str, Any]) -> str:
    """Every side's time and peak memory, and the product rates, on one kind of processor."""
    configs = list(results["configs"].values())
    lines = [[", ".join(results["instructions"]), *results["configs"]],
             ["---"] * (1 + len(configs))]  # fmt: skip
    sides = [s for s in ("minigpt", *RIVALS) if any(measured(rows, [s]) for rows in configs)]
    for side in sides:
        lines.append([f"{side}, ms a step", *(milliseconds(rows, side) for rows in configs)])
    for side in sides:
        lines.append([f"{side}, peak MiB", *(peak(rows, side) for rows in configs)])
    for dtype in ("float32", "bfloat16"):
        rates = [spread([row["rate"][dtype] / 1e9 for row in rows], ",.0f") for rows in configs]
        lines.append([f"fastest {dtype} product, GFLOP/s", *rates])
    methods = [{f"{r['minigpt']['loss']}, {r['minigpt']['precision']}" for r in c} for c in configs]
    lines.append(
        ["minigpt's loss, and precision of the rest", *map("; ".join, map(sorted, methods))]
    )
    return markdown_table(lines)


def peak(rows: list[Row], side: str) -> str:
    return f"{median(rows, side, 'peak') / 2**20:,.0f}" if measured(rows, [side]) else ""


def short(commit: str | None) -> str:
    """A commit's first seven digits, and its mark if files were changed; "unknown" for None."""
    digits, dash, mark = (commit or "unknown").partition("-")
    return digits[:7] + dash + mark


def section(kind: str, results: dict[str, Any]) -> str:
    rounds = sorted({len(rows) for rows in results["configs"].values()})
    commits = ", ".join(map(short, results["commits"]))
    libraries = results["libraries"].items()
    used = ", ".join(f"{name} {version}" for name, version in libraries if version)
    missing = [name for name, version in libraries if not version]
    text = f"""## {kind[0].upper()}{kind[1:]}

{results["machine"]}, {used}; commit {commits}; rounds of each
configuration: {" or ".join(map(str, rounds))}."""
    if kind == HELD:
        text += """ This is not a machine of its own: environment variables kept torch, oneDNN, MKL
and torch.compile from the AVX-512 that this processor has. It shows the choices of code, while a
processor without AVX-512 has its own clock, caches and memory."""
    if missing:
        text += f" Not installed, and so left out: {', '.join(missing)}."
    text += f"\n\n{details(results)}\n"
    if results["lightning"]:
        ms = {s: [row[s] * 1e3 for row in results["lightning"]] for s in ("bare", "lightning")}
        extra = [b - a for a, b in zip(ms["bare"], ms["lightning"], strict=True)]
        text += f"""
A step without any work takes {spread(ms["lightning"])} ms under Lightning, with the default loggers
and the default callbacks except checkpoints and alignment guard. In a plain loop it takes
{spread(ms["bare"])} ms; the difference is {spread(extra)} ms.
"""
    if results["curve"]:
        curves = zip(results["curve"]["default"], results["curve"]["reference"], strict=True)
        difference = max(abs(default / reference - 1) for default, reference in curves)
        text += f"""
Over the first {10 * len(results["curve"]["default"])} steps of `python train.py`, the training loss
averaged over ten steps differs by at most {difference:.2%} from `trainer=reference` (dense float32,
nothing fused) on the same batches.
"""
    return text


def page(stored: dict[str, Any]) -> str:
    sections = "\n".join(section(kind, results) for kind, results in stored.items())
    return f"""# Speed of a training step

`python benchmarks/train_step.py`. Every side trains a network of the same shape on the same
batches, with fused AdamW and gradient clipping, and with dropout where the library has it. Each
runs in a process of its own. The sides take turns. Figures are medians over the rounds, with the
minimum and the maximum; a ratio is taken within a round, so it is not the ratio of two medians.

- *plain*: minigpt's network in the loop that one would write first, with all logits in memory.
- *transformers*: GPT-2 of that library in the same loop; its head has no bias, while mini's has
  one.
- *litgpt*: `litgpt.GPT` in the same loop. It has no dropout, which saves it work, and rotary
  positions instead of learned ones. Its vocabulary is padded to a multiple of 64.
- *bfloat16* means `torch.autocast`, *compiled* means `torch.compile` of network and loss.
- *minigpt*: the run of `train.py` under Lightning, with its default settings, callbacks and loggers
  but without checkpoints.

The best rival is the fastest of all of these in its round. Except in eager float32, a side that
takes over ten times as long as the fastest in the first round of a configuration is not measured
again, in none of them. On all sides
waiting threads give up their core early, as in `train.py`. Memory is the peak of the whole process,
with Python and torch, and on minigpt's side with Lightning. Work is six operations per token and
parameter of the blocks and the head. The share is that of the fastest matrix product measured in
the same round, in the precision that minigpt uses. The raw figures are in [speed.json](speed.json).

{summary(stored)}

{sections}"""
