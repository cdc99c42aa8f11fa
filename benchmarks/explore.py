"""Time `minigpt explore` and weigh its page, for 1,000 documents.

    python benchmarks/explore.py                writes docs/results/explore.md
    python benchmarks/explore.py --toy --rounds 1 --stdout

Each configuration is trained for a few steps first, since the time depends on the shapes alone.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from machine import REPOSITORY, machine_description
from results import argument_parser, markdown_table, publish, spread

from minigpt.version import code_commit

DOCUMENTS = 1000
CONFIGS = ("mini", "base")
MOST_SECONDS, MOST_BYTES = 30, 5_000_000

Round = dict[str, Any]  # what the command prints with --json, and the `wall` seconds of its process


def run(words: list[str], folder: str) -> str:
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{' '.join(words)} failed:\n{done.stderr}")
    return done.stdout


def measure(model: str, rounds: int, data: list[str], documents: int, folder: str) -> list[Round]:
    """Explore a run of a few steps, and two beside each other, so many times."""
    train = [str(REPOSITORY / "train.py"), *data, f"model={model}", "trainer.max_steps=20",
             "trainer.limit_val_batches=2", "trainer.limit_test_batches=2",
             "trainer.val_check_interval=20", "logger=none"]  # fmt: skip
    for name in ("a", "b"):
        run([*train, f"seed={ord(name)}", f"hydra.run.dir={model}-{name}"], folder)
    results = []
    for _ in range(rounds):
        for runs in (["a"], ["a", "b"]):
            command = ["-m", "minigpt.commands.main", "explore", "--json", "--split", "train",
                       "--documents", str(documents)]  # fmt: skip
            start = time.perf_counter()
            printed = run([*command, *(f"{model}-{name}" for name in runs)], folder)
            results.append({**json.loads(printed), "wall": time.perf_counter() - start})
            print(json.dumps(results[-1]), flush=True)
    return results


def table(by_config: dict[str, list[Round]]) -> str:
    lines = [["configuration", "runs", "documents", "tokens", "tokens of each, at most", "seconds",
              "megabytes"], ["---"] * 7]  # fmt: skip
    for config, rounds in by_config.items():
        for count in (1, 2):
            rows = [row for row in rounds if len(row["runs"]) == count]
            (split,) = rows[0]["splits"]
            lines.append(
                [config, str(count), f"{split['documents']:,}", f"{split['tokens']:,}",
                 str(rows[0]["cut"]), spread([row["wall"] for row in rows], ".1f"),
                 f"{statistics.median(row['bytes'] for row in rows) / 1e6:.2f}"]
            )  # fmt: skip
    return markdown_table(lines)


def page(by_config: dict[str, list[Round]], machine: str) -> str:
    rounds = [row for rows in by_config.values() for row in rows]
    slowest, largest = max(row["wall"] for row in rounds), max(row["bytes"] for row in rounds)
    return f"""# The explorer's page

`python benchmarks/explore.py` on {machine}; commit {(code_commit() or "unknown")[:7]}.

The slowest page took {slowest:.1f} s, of at most {MOST_SECONDS} s. The largest has
{largest / 1e6:.2f} MB, of at most {MOST_BYTES / 1e6:.0f} MB. Two runs share the tokens that are
scored, so that half as many of each document are shown.

Seconds are those of a whole process, imports included: median, minimum and maximum. Documents are
the modules of torch, evenly spread over the training split.

{table(by_config)}
"""


def main() -> None:
    parser = argument_parser(__doc__, rounds=3)
    parser.add_argument("--toy", action="store_true", help="a few documents and a small text")
    parser.add_argument("--configs", nargs="+", choices=CONFIGS, default=list(CONFIGS))
    args = parser.parse_args()
    # The modules of torch are at hand, and more than 1,000 (data=stdlib has fewer).
    modules = Path(torch.__file__).parent
    files = f"data.files=[{modules}/*/*.py,{modules}/*/*/*.py]"
    data, documents = (["data=sample"], 5) if args.toy else (["data=files", files], DOCUMENTS)
    with tempfile.TemporaryDirectory() as folder:
        by_config = {
            name: measure(name, args.rounds, data, documents, folder) for name in args.configs
        }
    publish("explore", page(by_config, machine_description()), args.stdout)


if __name__ == "__main__":
    main()
