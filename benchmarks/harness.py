"""Compare bits per byte of lm-eval, on an exported model, with our own.

    python benchmarks/harness.py               writes docs/results/harness.md
    python benchmarks/harness.py --steps 20 --stdout

Trains a small network on the standard library, exports it, and lets lm-eval's harness run a local
task of rolling log-likelihood over held-out documents: a task file and JSON lines in a temporary
folder, nothing downloaded. Needs `lm-eval` and `accelerate`.
"""

import contextlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from machine import machine_description
from results import argument_parser, markdown_table, publish

from minigpt.config import share_cores
from minigpt.tokens.gpt2_table import END_OF_TEXT
from minigpt.version import code_commit

REPOSITORY = Path(__file__).parent.parent
TOLERANCE = 0.001  # of the ratio of both figures from 1

# Text with long and short documents, several bytes a character, and what tokenizers trip over.
SOURCES = ("README.md", "docs/*.md", "docs/design/*.md", "conf/train.yaml", "minigpt/model/*.py")
EXTRA = ("naïve café — 日本語のテキスト \U0001f600\n", "  two  spaces\n\n\n\tand tabs \n", "short")

TASK = """task: minigpt_rolling
dataset_path: json
dataset_kwargs:
  data_files:
    test: {documents}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{{{text}}}}"
metric_list:
  - metric: bits_per_byte
"""


def documents() -> list[str]:
    """Texts without the words of the separator, which only `transformers` reads as an id."""
    paths = sorted(path for pattern in SOURCES for path in REPOSITORY.glob(pattern))
    texts = [*(path.read_text("utf-8") for path in paths), *EXTRA]
    return [text for text in texts if END_OF_TEXT not in text]


def train(folder: Path, model: str, steps: int) -> Path:
    """A run of the model preset on the standard library."""
    run = folder / "run"
    arguments = [
        f"model={model}", "model.head_bias=false", "data=stdlib", "data.max_tokens=1000000",
        f"data.root={folder}/tokens", f"trainer.max_steps={steps}", "logger=none",
        "scheduler=none", "trainer.limit_test_batches=0", "~callbacks.samples",
        f"hydra.run.dir={run}",
    ]  # fmt: skip
    subprocess.run(
        [sys.executable, "-m", "minigpt.commands.train", *arguments],
        cwd=folder, check=True, capture_output=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    return run


def write_documents(texts: list[str], folder: Path) -> Path:
    """One file of JSON lines, which both sides read."""
    path = folder / "documents.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")
    return path


def ours(run: Path, documents: Path) -> tuple[float, float]:
    """Bits per byte as `minigpt evaluate` has them, and the seconds it took."""
    from minigpt.evaluation.evaluate import evaluate
    from minigpt.evaluation.other_text import other_store
    from minigpt.evaluation.trained_model import load_model

    model = load_model(run, "last")
    started = time.perf_counter()
    store = other_store(
        model,
        ["data=files", f"data.files=['{documents}']", f"data.root='{documents.parent}/tokens'",
         "data.val_fraction=0", "data.test_fraction=0"],
    )  # fmt: skip
    total = evaluate(model, store, ["train"]).splits["train"].total
    return total.bits_per_byte, time.perf_counter() - started


def theirs(exported: Path, documents: Path, folder: Path) -> tuple[float, float]:
    """Bits per byte by lm-eval's harness, and the seconds it took."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(folder / "datasets")}
    import lm_eval
    from lm_eval.tasks import TaskManager

    tasks = folder / "tasks"
    tasks.mkdir()
    task = TASK.format(documents=documents)
    (tasks / "minigpt_rolling.yaml").write_text(task, "utf-8")
    started = time.perf_counter()
    results: Any = lm_eval.simple_evaluate(
        model="hf",
        model_args={"pretrained": str(exported), "dtype": "float32"},
        tasks=["minigpt_rolling"],
        task_manager=TaskManager(include_path=str(tasks), include_defaults=False),
        device="cpu",
        batch_size=8,
        bootstrap_iters=0,
    )
    seconds = time.perf_counter() - started
    return float(results["results"]["minigpt_rolling"]["bits_per_byte,none"]), seconds


def measure(model: str, steps: int) -> dict[str, Any]:
    from minigpt.interop.export import export

    texts = documents()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = train(folder, model, steps)
        export(run, folder / "exported", which="last")
        path = write_documents(texts, folder)
        bits, seconds = ours(run, path)
        with contextlib.redirect_stdout(sys.stderr):
            their_bits, their_seconds = theirs(folder / "exported", path, folder)
    return {
        "documents": len(texts), "bytes": sum(len(text.encode()) for text in texts),
        "ours": bits, "theirs": their_bits, "seconds": seconds, "their_seconds": their_seconds,
    }  # fmt: skip


def page(result: dict[str, Any], model: str, steps: int) -> str:
    import lm_eval

    difference = abs(result["ours"] / result["theirs"] - 1)
    rows = [
        ["", "bits per byte", "seconds"],
        ["---"] * 3,
        ["minigpt", f"{result['ours']:.6f}", f"{result['seconds']:.1f}"],
        ["lm-eval, on the export", f"{result['theirs']:.6f}", f"{result['their_seconds']:.1f}"],
    ]
    return f"""# lm-eval's harness on an exported model

`python benchmarks/harness.py`. The preset *{model}* is trained for {steps} steps on Python's
standard library and exported with `minigpt export`. lm-eval runs a local task of rolling
log-likelihood on {result["documents"]} documents of {result["bytes"]:,} bytes; `minigpt evaluate`
scores the same file with the checkpoint. The two figures differ by {100 * difference:.4f}% (at most
{100 * TOLERANCE}% is allowed).

{markdown_table(rows)}

{machine_description()}, lm-eval {lm_eval.__version__}; commit
{(code_commit() or "unknown")[:7]}. The seconds of lm-eval include reading the model and the task.
"""


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--model", default="base", help="a preset")
    parser.add_argument("--steps", type=int, default=300, help="training steps before the export")
    args = parser.parse_args()
    share_cores()  # before torch is imported
    os.environ["TQDM_DISABLE"] = "1"  # lm-eval draws a bar for each batch
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    result = measure(args.model, args.steps)
    publish("harness", page(result, args.model, args.steps), args.stdout)
    if abs(result["ours"] / result["theirs"] - 1) > TOLERANCE:
        sys.exit("the two figures differ by more than is allowed")


if __name__ == "__main__":
    main()
