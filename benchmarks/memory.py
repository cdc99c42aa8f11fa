"""Measure the peak memory of training beside what `minigpt check` estimates for it.

    python benchmarks/memory.py                 writes docs/results/memory.md
    python benchmarks/memory.py --stdout

Each configuration trains a few steps in processes of its own. One keeps freed memory, as a run does
by default; the other gives it back at once. Each prints its peak memory less what it had before the
network was built. Before that, it trains a far smaller network, so that the code of the libraries
is in memory already.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from machine import machine_description, print_result, run_script
from results import argument_parser, markdown_table, publish

CHARACTERS = ["data.tokenizer=char", "model.vocab_size=null"]
FLOAT32 = ["trainer.precision=32-true", "loss=float32"]

# Row of the page -> what it changes of the defaults.
CONFIGS: dict[str, list[str]] = {
    "mini": [],
    "base, batch 32": ["model=base", "data.batch_size=32"],
    "base, batch 32, float32": ["model=base", "data.batch_size=32", *FLOAT32],
    "base, batch 8, loss=dense": ["model=base", "data.batch_size=8", "loss=dense"],
    "base, characters, batch 128, averaged weights": [
        "model=base", "data.batch_size=128", *CHARACTERS, "callbacks=weight_average",
    ],
    "base, characters, batch 128, float32, no dropout": [
        "model=base", "data.batch_size=128", *CHARACTERS, *FLOAT32, "model.dropout=0",
    ],
    "wide, Muon, averaged weights, batch 16": [
        "model=wide", "data.batch_size=16", "optimizer=muon", "callbacks=weight_average",
    ],
    "wide, characters, Muon, batch 32, float32": [
        "model=wide", "data.batch_size=32", *CHARACTERS, *FLOAT32, "optimizer=muon",
    ],
    "gpt2, batch 1": ["model=gpt2", "data.batch_size=1"],
    "modern parts, batch 64": ["experiment=modern", "data=sample", "data.batch_size=64"],
}  # fmt: skip
SMALL = ["model.n_layer=1", "model.n_embd=16", "model.n_head=2", "model.block_size=8"]
LIMIT = 0.25  # of the measured memory, by which the estimate may be off
THRESHOLD = "MALLOC_MMAP_THRESHOLD_"  # glibc maps blocks of this size on their own
STEPS = 4  # of which the first makes the optimizer's state
WITHOUT = [f"~callbacks.{name}" for name in (
    "alignment_guard", "samples", "progress", "best", "last", "interruption",
)]  # fmt: skip


def train(overrides: list[str], folder: str) -> None:
    """A few steps of a configuration, without validation and callbacks."""
    from minigpt.config import compose_config
    from minigpt.training.build import build_run

    cfg = compose_config([*overrides, *WITHOUT, "logger=none", f"trainer.max_steps={STEPS}",
                          "trainer.limit_val_batches=0"])  # fmt: skip
    cfg.run_dir = folder
    cfg.data.root = str(Path(folder) / "tokens")
    run = build_run(cfg)
    run.trainer.fit(run.lit, run.data)


def resident_memory() -> int:
    """Bytes of this process that are in memory now."""
    rows = Path("/proc/self/status").read_text().splitlines()
    (line,) = [row for row in rows if row.startswith("VmRSS")]
    return int(line.split()[1]) * 1024


def measure_here(overrides: list[str], folder: str) -> dict[str, Any]:
    """Bytes that a configuration's training takes in this process at most, and the estimate."""
    import torch

    from minigpt.commands.check import check
    from minigpt.config import share_cores
    from minigpt.training.memory import peak_memory, reset_peak_memory

    share_cores()
    estimate = check([*overrides, f"data.root={folder}/tokens"])["memory_bytes"]
    train([*overrides, *SMALL], folder)
    reset_peak_memory()
    before = resident_memory()
    train(overrides, folder)
    return {"measured": peak_memory(torch.device("cpu")) - before, "estimate": estimate}


def measure(names: list[str]) -> dict[str, dict[str, Any]]:
    """Configuration -> bytes estimated, needed and held."""
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            words = ["--here", folder, *CONFIGS[name]]
            held = run_script(__file__, *words, folder=folder)
            with mapped():
                needed = run_script(
                    __file__, *words, "trainer.keep_freed_memory=false", folder=folder
                )
            results[name] = {
                "estimate": held["estimate"],
                "needed": needed["measured"],
                "held": held["measured"],
            }
            print(name, results[name], file=sys.stderr, flush=True)
    return results


@contextmanager
def mapped() -> Iterator[None]:
    """Processes started within map each large block, and give it back once it is freed."""
    os.environ[THRESHOLD] = str(64 * 1024)
    try:
        yield
    finally:
        del os.environ[THRESHOLD]


def within(results: dict[str, dict[str, Any]], what: str) -> str:
    """How many configurations' estimates are at most LIMIT off, in words."""
    ratios = [row["estimate"] / row[what] for row in results.values()]
    near = sum(abs(ratio - 1) <= LIMIT for ratio in ratios)
    spread = f"{min(ratios):.2f} to {max(ratios):.2f} times as much"
    return f"{near} of {len(ratios)} configurations ({spread})"


def page(machine: str, results: dict[str, dict[str, Any]]) -> str:
    rows = [["configuration", "estimate, MiB", "needed", "estimate / needed", "held by default",
             "estimate / held"], ["---", *["---:"] * 5]]  # fmt: skip
    for name, row in results.items():
        mib = {key: f"{value / 2**20:,.0f}" for key, value in row.items()}
        ratios = {key: f"{row['estimate'] / row[key]:.2f}" for key in ("needed", "held")}
        rows.append([name, mib["estimate"], mib["needed"], ratios["needed"], mib["held"],
                     ratios["held"]])  # fmt: skip
    words = "\n".join(
        f"- {name}: `{' '.join(CONFIGS[name]) or 'the defaults'}`" for name in results
    )
    return f"""# The estimate of memory

`python benchmarks/memory.py`: the estimate of `minigpt check` beside the peak memory of {STEPS}
training steps, each configuration in processes of its own. What is measured is the peak of the
whole process less what it had before the network was built, once a far smaller network had been
trained. {machine}.

- **Needed**: each large block of memory is mapped on its own and given back when it is freed
  (`{THRESHOLD}=65536 trainer.keep_freed_memory=false`). It is what the estimate is about: the
  tensors alive at once.
- **Held by default**: `trainer.keep_freed_memory=true`, as a run is started. The C library keeps
  freed blocks, and often cannot fit the next tensors into them. The estimate does not count this,
  so a run by default takes more than it says.

The estimate is at most {LIMIT:.0%} off what is needed in {within(results, "needed")}, and off
what is held by default in {within(results, "held")}.

{markdown_table(rows)}

Validation, text samples and checkpoints are left out, and so are GPUs and several processes: no
estimate for those was measured. The terms of the estimate are in
[step_memory.py](../../minigpt/training/step_memory.py).

The configurations differ from the defaults in

{words}
"""


def main() -> None:
    if sys.argv[1:2] == ["--here"]:
        print_result(measure_here(sys.argv[3:], sys.argv[2]))
        return
    parser = argument_parser(__doc__)
    parser.add_argument("--configs", nargs="+", default=list(CONFIGS), choices=CONFIGS)
    args = parser.parse_args()
    publish("memory", page(machine_description(), measure(args.configs)), args.stdout)


if __name__ == "__main__":
    main()
