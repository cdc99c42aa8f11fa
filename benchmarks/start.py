"""Time what a user waits for: help, a completion, and the first step of a run.

    python benchmarks/start.py                  writes docs/results/start.md and start.json
    python benchmarks/start.py --rounds 1 --stdout

Each is a process of its own, from its start to its end, on a warm disk: a round before the first
makes the token store and is not counted.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

import lightning.pytorch as pl
from machine import REPOSITORY, machine_description
from results import argument_parser, markdown_table, publish, spread

TRAIN = [sys.executable, str(REPOSITORY / "train.py")]
MINIGPT = [sys.executable, "-m", "minigpt.commands.main"]
IMPORTS = """from minigpt.lean_imports import without_collection
with without_collection():
    import minigpt.training.build
"""
FIRST_STEP = "first step at "

# Row of the table -> the command, and the seconds that it may take.
COMMANDS: dict[str, tuple[list[str], str]] = {
    "Python alone": ([sys.executable, "-c", "pass"], ""),
    "`python train.py --help`": ([*TRAIN, "--help"], "0.3"),
    "`minigpt --help`": ([*MINIGPT, "--help"], "0.3"),
    "`minigpt check --help`": ([*MINIGPT, "check", "--help"], "0.3"),
    "tab completion": ([*TRAIN, "-sc", "query=bash"], "0.5"),
    "`import torch`": ([sys.executable, "-c", "import torch"], ""),
    "`import lightning.pytorch`": ([sys.executable, "-c", "import lightning.pytorch"], ""),
    "the imports of a run": ([sys.executable, "-c", IMPORTS], ""),
}
TO_FIRST_STEP, WHOLE_RUN = "`python train.py` to its first step", "a whole run of one step"


class FirstStep(pl.Callback):
    """Prints the time at which the first training step begins."""

    def on_train_batch_start(self, *_: Any) -> None:
        print(f"\n{FIRST_STEP}{time.monotonic()}", flush=True)


def run_once(command: list[str], folder: str) -> tuple[float, float, str]:
    """Run a command to its end: when it started, its seconds, and what it printed."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "benchmarks")]),
        "COMP_LINE": "python train.py model=",
        "COMP_POINT": "22",
    }
    start = time.monotonic()  # one clock for all processes of a machine
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - start
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return start, seconds, done.stdout


def one_round(folder: str) -> dict[str, float]:
    """Seconds of each row."""
    seconds = {name: run_once(command, folder)[1] for name, (command, _) in COMMANDS.items()}
    run = [*TRAIN, "trainer.max_steps=1", "+callbacks.clock._target_=start.FirstStep"]
    start, seconds[WHOLE_RUN], printed = run_once(run, folder)
    (line,) = [line for line in printed.splitlines() if line.startswith(FIRST_STEP)]
    seconds[TO_FIRST_STEP] = float(line.removeprefix(FIRST_STEP)) - start
    return seconds


def measure(rounds: int) -> dict[str, Any]:
    """All results, in the layout of start.json."""
    with tempfile.TemporaryDirectory() as folder:
        one_round(folder)
        results = []
        for _ in range(rounds):
            results.append(one_round(folder))
            print(json.dumps(results[-1]), flush=True)
    return {"machine": machine_description(), "rounds": results}


def table(rounds: list[dict[str, float]]) -> str:
    limits = {name: limit for name, (_, limit) in COMMANDS.items()} | {TO_FIRST_STEP: "4"}
    lines = [["", "seconds", "at most"], ["---", "---", "---"]]
    for name in (*COMMANDS, TO_FIRST_STEP, WHOLE_RUN):
        lines.append([name, spread([row[name] for row in rounds]), limits.get(name, "")])
    return markdown_table(lines)


def page(results: dict[str, Any]) -> str:
    return f"""# From typing to seeing

`python benchmarks/start.py` on {results["machine"]}.

Each row is a process of its own on a warm disk, from its start to its end, except that the row of
the first step ends where the first batch is about to be trained. The rows take turns,
{len(results["rounds"])} rounds; the table gives the median, the minimum and the maximum. The run is
`python train.py` with `trainer.max_steps=1`: it trains one step, tests, and prints its report. The
raw figures are in [start.json](start.json).

{table(results["rounds"])}

"The imports of a run" holds torch and Lightning, and is less than `import lightning.pytorch` alone:
[lean_imports.py](../../minigpt/lean_imports.py) says what it leaves for later.
"""


def main() -> None:
    args = argument_parser(__doc__, rounds=7).parse_args()
    results = measure(args.rounds)
    publish("start", page(results), args.stdout, results)


if __name__ == "__main__":
    main()
