"""Times a training step of this project beside what a user would otherwise run, in one run.

    python benchmarks/train_step.py             writes docs/results/speed.md and speed.json
    python benchmarks/train_step.py --rounds 1 --steps 2 --configs mini --stdout

Each side of each configuration lives in a process of its own, so that peak memory is its own; the
sides take turns, and what is compared is the ratio within each round. Needs `transformers`.
"""

import argparse
import csv
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from machine import REPOSITORY, described, in_process, product_rate, report

# The experiments whose steps are timed, as a user would run them.
CONFIGS = {
    "mini": ["experiment=memorize"],
    "base": ["experiment=baseline", "data=sample", "data.batch_size=32", "data.stride=1"],
    "wide": ["experiment=wider", "data=sample", "data.batch_size=16", "data.stride=1"],
}
WARM_UP = 3
CURVE_STEPS = 300

Seconds = Iterator[float]


def plain(overrides: list[str], fast: bool) -> Seconds:
    """A dense loop as one would write it first: all logits, AdamW, clipping."""
    from minigpt.config import compose_config
    from minigpt.model.gpt import GPT
    from minigpt.training.build import build_data

    cfg = compose_config(overrides)
    data, config = build_data(cfg)
    net = GPT(config)
    return loop(net, net, cfg.optimizer.lr, data.train_dataloader(), fast)


def transformers(overrides: list[str], fast: bool) -> Seconds:
    """GPT-2 of the transformers library, at the same shape."""
    from transformers import GPT2Config, GPT2LMHeadModel

    from minigpt.config import compose_config
    from minigpt.training.build import build_data

    cfg = compose_config(overrides)
    data, c = build_data(cfg)
    net = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=c.vocab_size, n_positions=c.block_size, n_embd=c.n_embd, n_layer=c.n_layer,
            n_head=c.n_head, resid_pdrop=c.dropout, attn_pdrop=c.dropout,
            embd_pdrop=c.embd_dropout, tie_word_embeddings=c.tie_weights, use_cache=False,
            bos_token_id=None, eos_token_id=None,
        )
    )  # fmt: skip
    net.train()
    return loop(net, lambda ids: net(ids).logits, cfg.optimizer.lr, data.train_dataloader(), fast)


def loop(net: Any, logits: Callable[..., Any], lr: float, batches: Any, fast: bool) -> Seconds:
    """fast: bfloat16 autocast and torch.compile, the best that either is known for on a CPU."""
    import torch
    import torch.nn.functional as F

    def loss_of(inputs: Any, targets: Any) -> Any:
        found = logits(inputs).flatten(0, 1)
        return F.cross_entropy(found, targets.flatten(), ignore_index=-100)

    compute = torch.compile(loss_of) if fast else loss_of
    optimizer = torch.optim.AdamW(net.parameters(), lr, fused=fast)
    for inputs, targets in itertools.chain.from_iterable(itertools.repeat(batches)):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            loss = compute(inputs, targets)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        loss.item()
        yield time.perf_counter() - start


def minigpt(overrides: list[str], steps: int) -> Seconds:
    """`train.py`'s own objects under Lightning, from one batch's end to the next's."""
    from minigpt.config import compose_config, share_cores

    share_cores()
    import lightning.pytorch as pl

    from minigpt.training.build import build_run

    class Clock(pl.Callback):
        ends: list[float] = []  # noqa: RUF012

        def on_train_batch_end(self, *_: Any) -> None:
            self.ends.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        cfg = compose_config(
            [
                *overrides,
                f"run_dir={folder}",
                "trainer.max_epochs=-1",
                "trainer.limit_val_batches=0",
                f"trainer.max_steps={1 + WARM_UP + steps}",
                "~callbacks.best",
                "~callbacks.last",
            ]
        )
        run = build_run(cfg)
        clock = Clock()
        run.trainer.callbacks.append(clock)
        run.trainer.fit(run.lit, run.data)
    return (b - a for a, b in itertools.pairwise(clock.ends))


def lightning_cost(steps: int, root: str, under_lightning: bool) -> float:
    """Mean seconds of a step whose network does nothing, in a bare loop or in the whole run's."""
    import torch

    from minigpt.config import compose_config
    from minigpt.training.build import build_run
    from minigpt.training.lit_gpt import LitGPT
    from minigpt.training.optimizer import make_optimizer

    class Nothing(LitGPT):
        def loss(self, batch: Any, label_smoothing: float = 0.0) -> Any:
            return self.net.ln_f.weight.sum()

    with tempfile.TemporaryDirectory() as folder:
        overrides = ["model.n_layer=1", "model.n_embd=8", "model.n_head=1", f"run_dir={folder}",
                     f"data.root={root}", "trainer.max_epochs=-1", "trainer.limit_val_batches=0",
                     f"trainer.max_steps={100 + steps}", "~callbacks.best", "~callbacks.last",
                     "~callbacks.alignment_guard"]  # fmt: skip
        run = build_run(compose_config(overrides))
        run.lit.__class__ = Nothing
        net = run.lit.net
        times = []
        if under_lightning:
            run.lit.on_train_batch_start = lambda *_: times.append(time.perf_counter())
            run.trainer.fit(run.lit, run.data)
        else:
            optimizer = make_optimizer(run.lit.optimizer_config, net)
            epochs = itertools.repeat(run.data.train_dataloader())
            for batch in itertools.islice(itertools.chain.from_iterable(epochs), 100 + steps):
                times.append(time.perf_counter())
                loss = run.lit.loss(batch)
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                optimizer.step()
                loss.item()
    return (times[-1] - times[99]) / (len(times) - 100)


def curve(overrides: list[str], steps: int) -> list[float]:
    """The training loss of a run, a mean of ten steps each."""
    from minigpt.config import compose_config
    from minigpt.training.build import build_run

    with tempfile.TemporaryDirectory() as folder:
        cfg = compose_config(
            [*overrides, f"run_dir={folder}", f"trainer.max_steps={steps}", "~callbacks.best",
             "~callbacks.last", "trainer.log_every_n_steps=10", "logger=csv"]
        )  # fmt: skip
        run = build_run(cfg)
        run.trainer.fit(run.lit, run.data)
        with (Path(folder) / "metrics.csv").open(newline="") as file:
            return [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]


# What is timed, and how it is called in the tables.
SIDES: dict[str, tuple[str, Callable[[list[str], int], Seconds]]] = {
    "plain": ("plain loop", lambda overrides, _: plain(overrides, fast=False)),
    "plain_fast": ("plain, bf16 + compile", lambda overrides, _: plain(overrides, fast=True)),
    "transformers": ("transformers", lambda overrides, _: transformers(overrides, fast=False)),
    "transformers_fast": (
        "transformers, bf16 + compile",
        lambda overrides, _: transformers(overrides, fast=True),
    ),
    "minigpt": ("minigpt", minigpt),
}


def run_side(side: str, name: str, steps: int, root: str) -> None:
    """One side in this process, its result as the last line."""
    if side == "rate":
        report({"rate": product_rate()})
    elif side in ("default", "reference"):
        report({"losses": curve([f"trainer={side}", f"data.root={root}"], CURVE_STEPS)})
    elif side in ("bare", "lightning"):
        report({"seconds": lightning_cost(1000, root, side == "lightning")})
    elif side == "flops":
        from minigpt.config import compose_config
        from minigpt.model.gpt import count_parameters
        from minigpt.training.build import build_data

        cfg = compose_config([*CONFIGS[name], f"data.root={root}"])
        _, model = build_data(cfg)
        parts = count_parameters(model)
        multiplying = parts["blocks"] + parts["head"]
        report({"flops": 6 * multiplying * cfg.data.batch_size * model.block_size})
    else:
        seconds = SIDES[side][1]([*CONFIGS[name], f"data.root={root}"], steps)
        timed = list(itertools.islice(seconds, WARM_UP, WARM_UP + steps))
        report({"seconds": statistics.median(timed)})


def measure(configs: list[str], rounds: int, steps: int) -> dict[str, Any]:
    found: dict[str, Any] = {"machine": described(), "rounds": rounds, "configs": {},
                             "curve": {}}  # fmt: skip
    with tempfile.TemporaryDirectory() as root:

        def side(which: str, name: str, steps: int = 0) -> dict[str, Any]:
            arguments = ["--side", which, "--configs", name, "--steps", str(steps), "--root", root]
            return in_process(__file__, *arguments, folder=root)

        rows: dict[str, list[dict[str, Any]]] = {name: [] for name in configs}
        for _ in range(rounds):
            for name in configs:
                n = steps or (60 if name == "mini" else 5)
                row = {which: side(which, name, n) for which in SIDES}
                row["rate"] = side("rate", name)["rate"]
                rows[name].append(row)
                print(f"{name}: {json.dumps(row)}", flush=True)
        for name in configs:
            found["configs"][name] = {"flops": side("flops", name)["flops"], "rounds": rows[name]}
        for which in ("default", "reference"):
            found["curve"][which] = side(which, "mini")["losses"]
        found["lightning"] = [
            {which: side(which, "mini")["seconds"] for which in ("bare", "lightning")}
            for _ in range(max(rounds, 3))
        ]
    return found


def spread(values: list[float], form: str) -> str:
    """Median (least to most)."""
    low, high = min(values), max(values)
    return f"{statistics.median(values):{form}} ({low:{form}} to {high:{form}})"


def median(rows: list[dict[str, Any]], side: str, key: str) -> float:
    return statistics.median(row[side][key] for row in rows)


def faster(rows: list[dict[str, Any]], *sides: str) -> str:
    """minigpt than the best of some sides, in each round."""
    best = [min(row[side]["seconds"] for side in sides) for row in rows]
    return spread([b / row["minigpt"]["seconds"] for b, row in zip(best, rows, strict=True)], ".2f")


def share(rows: list[dict[str, Any]], flops: float) -> str:
    return spread([flops / r["minigpt"]["seconds"] / r["rate"] for r in rows], ".0%")


def table(found: dict[str, Any]) -> str:
    configs = [(c["rounds"], c["flops"]) for c in found["configs"].values()]
    lines = [["", *found["configs"]], ["---", *["---"] * len(configs)]]
    for side, (title, _) in SIDES.items():
        ms = [f"{median(rows, side, 'seconds') * 1e3:,.1f}" for rows, _ in configs]
        lines.append([f"{title}, ms a step", *ms])
    rivals = [side for side in SIDES if side != "minigpt"]
    for side in rivals:
        title = f"**faster than {SIDES[side][0]} by**"
        lines.append([title, *(faster(rows, side) for rows, _ in configs)])
    fast = [side for side in rivals if side.endswith("_fast")]
    lines.append(
        ["**... than the better bf16 + compile**", *(faster(rows, *fast) for rows, _ in configs)]
    )
    for side, (title, _) in SIDES.items():
        mib = [f"{median(rows, side, 'peak') / 2**20:,.0f}" for rows, _ in configs]
        lines.append([f"{title}, peak MiB", *mib])
    memory = [
        f"{median(r, 'minigpt', 'peak') / median(r, 'plain', 'peak'):.0%}" for r, _ in configs
    ]
    lines.append(["**memory, of the plain loop's**", *memory])
    rates = [f"{statistics.median(r['rate'] for r in rows) / 1e9:,.0f}" for rows, _ in configs]
    lines.append(["best bfloat16 product, GFLOP/s", *rates])
    lines.append(["**minigpt's share of that rate**", *(share(*config) for config in configs)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def page(found: dict[str, Any]) -> str:
    ms = {s: [row[s] * 1e3 for row in found["lightning"]] for s in ("bare", "lightning")}
    extra = [b - a for a, b in zip(ms["bare"], ms["lightning"], strict=True)]
    curves = zip(found["curve"]["default"], found["curve"]["reference"], strict=True)
    off = max(abs(ours / reference - 1) for ours, reference in curves)
    kept = f"is at most {off:.2%} off that of `trainer=reference`: dense float32, nothing fused"
    return f"""# Speed of a training step

`python benchmarks/train_step.py` on {found["machine"]}. Every side trains a network of the same
shape on the same batches, with dropout, AdamW and clipping, each in a process of its own, in turns,
{found["rounds"]} rounds: medians, and of the ratios within a round also the least and the most. The
plain loop is dense float32, as one would write it first; bf16 + compile is `torch.autocast` with
`torch.compile`, fused AdamW and all logits; minigpt is `train.py`'s own objects under Lightning
with every default callback and logger but the checkpoints, and no flag given (its waiting threads
give up their core sooner, as `train.py` has it). transformers' head has no bias, which mini's has.
Memory is the peak of the whole process, Python and torch included. Work is six operations for each
parameter of blocks and head and each token. The figures are in [speed.json](speed.json).

{table(found)}

A step of a network that does nothing takes {spread(ms["lightning"], ".2f")} ms under Lightning with
the default callbacks, but checkpoints and alignment guard, and loggers;
{spread(ms["bare"], ".2f")} ms in a bare loop: {spread(extra, ".2f")} ms more.

Over the first {CURVE_STEPS} steps of `python train.py` the training loss, a mean of ten steps,
{kept}, the same batches.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=0, help="0: enough for each configuration")
    parser.add_argument("--configs", nargs="+", choices=CONFIGS, default=list(CONFIGS))
    parser.add_argument("--stdout", action="store_true", help="print only, write no page")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--root", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.rounds < 1 or args.steps < 0:
        parser.error("--rounds must be at least 1 and --steps at least 0")
    if args.side:
        run_side(args.side, args.configs[0], args.steps, args.root)
        return
    found = measure(args.configs, args.rounds, args.steps)
    text = page(found)
    print(text)
    if not args.stdout:
        results = Path(REPOSITORY) / "docs/results"
        (results / "speed.md").write_text(text, "utf-8")
        (results / "speed.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
