"""Measure how the exposure of planted random strings grows with their copies.

    python benchmarks/canaries.py          prints a section, writes docs/results/canaries.json
    python benchmarks/canaries.py --toy --stdout

It trains report B's baseline, or with --toy a tiny network of characters, on a part of Python's
standard library with canaries in it, a single run with seed 1. The section is one of
docs/results/memorization.md.
"""

import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from machine import REPOSITORY, machine_description
from results import argument_parser, markdown_table, wrapped, write_json

RUN = [
    "experiment=baseline",
    "data.canaries=10",
    "data.max_tokens=300000",
    "data.val_fraction=0.01",
    "data.test_fraction=0.01",
    "data.batch_size=16",
    "trainer.max_epochs=6",
    "trainer.val_check_interval=1.0",
]
TOY = [
    "data=stdlib",
    "data.tokenizer=char",
    "data.canaries=2",
    "data.max_tokens=60000",
    "data.val_fraction=0.001",
    "data.test_fraction=0",
    "model.vocab_size=null",
    "model.n_layer=1",
    "trainer.max_epochs=1",
]


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--toy", action="store_true", help="a tiny run, to try the script")
    args = parser.parse_args()
    result = measure(TOY if args.toy else RUN)
    print(wrapped(section(result)))
    if not args.stdout:
        write_json("canaries", result)


def measure(overrides: list[str]) -> dict[str, Any]:
    """Trains a run in a folder of its own; returns its exposures and what they say."""
    from minigpt.evaluation.canaries import canary_exposures
    from minigpt.evaluation.trained_model import load_model, training_store
    from minigpt.reports.canaries import canary_section
    from minigpt.runs.run_folder import RunFolder

    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(Path(folder) / "run")
        words = [*overrides, f"data.root={folder}/tokens", f"hydra.run.dir={run.path}"]
        subprocess.run([sys.executable, str(REPOSITORY / "train.py"), *words], check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip
        started = time.perf_counter()
        model = load_model(run.path, "last")
        exposures = canary_exposures(model, training_store(run, model))
        assert exposures is not None
        report, summary = canary_section(exposures), run.read_summary()
        assert summary.data is not None
        return {
            "command": " ".join(["python train.py", *overrides]),
            "machine": machine_description(),
            "parameters": summary.parameters,
            "tokens": summary.data.tokens["train"],
            "epochs": len(summary.epochs),
            "training_seconds": summary.wall_seconds,
            "exposure_seconds": time.perf_counter() - started,
            "is_monotone": exposures.is_monotone,
            "sentences": report.sentences,
            "notes": report.notes,
            "columns": report.columns,
            "rows": report.rows,
            "exposures": asdict(exposures),
        }


def section(result: dict[str, Any]) -> str:
    """The result in Markdown."""
    columns = result["columns"]
    table = markdown_table([columns, ["---:"] * len(columns), *result["rows"]])
    return f"""## Canaries

{" ".join(result["sentences"])}

{table}

{" ".join(result["notes"])}

`{result["command"]}` trains {result["parameters"]:,} parameters for {result["epochs"]} epochs of
{result["tokens"]:,} tokens in {result["training_seconds"]:,.0f} s, and the exposures take
{result["exposure_seconds"]:,.0f} s more, with {result["machine"]}.
"""


if __name__ == "__main__":
    main()
