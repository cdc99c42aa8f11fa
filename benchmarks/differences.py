"""Measure whether the report's statistics hold: on synthetic runs of known truth, and on real ones.

python benchmarks/differences.py                 writes docs/results/statistics.md
python benchmarks/differences.py --real 0        trains no runs
python benchmarks/differences.py --pairs 100 --stdout
"""

import argparse
import json
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet
from results import argument_parser, publish
from synthetic_runs import (
    DRAWS,
    PLANTED,
    SEEDS,
    Runs,
    Truth,
    calibration,
    coverage,
    hard_cases,
    hundreds,
    power,
    rates,
    simulate,
    this_test,
)

from minigpt.evaluation.document_table import DocumentTable, read_documents
from minigpt.reports.compared_runs import find_runs
from minigpt.reports.findings import findings
from minigpt.runs.run_folder import RunFolder
from minigpt.runs.summary import BestValidation, Epoch, Status, Summary

TINY = ["data=files", "data.tokenizer=char", "data.val_fraction=0.2", "data.test_fraction=0",
        "model.n_layer=1", "model.n_embd=32", "model.n_head=2", "model.block_size=64",
        "model.vocab_size=null", "data.batch_size=32", "data.stride=64", "trainer.max_epochs=-1",
        "trainer.max_steps=100", "~callbacks.samples", "logger=csv",
        "optimizer.lr=3e-3"]  # fmt: skip


def write_texts(path: Path) -> None:
    """Six hundred characters from each of the standard library's modules, as documents."""
    library = Path(sysconfig.get_path("stdlib"))
    lines = []
    for module in sorted(library.rglob("*.py")):
        parts = module.relative_to(library).parts
        if {"site-packages", "test", "tests", "idlelib"} & {*parts}:
            continue
        text = module.read_text("utf-8", errors="ignore").encode("ascii", "ignore").decode()
        if len(text) > 2000:
            lines.append(json.dumps({"text": text[1000:1600], "name": "/".join(parts)}))
    path.write_text("\n".join(lines) + "\n", "utf-8")


def real_runs(count: int, folder: Path) -> list[DocumentTable]:
    """Trains tiny runs that differ in their seed alone; what each made of its documents."""
    texts = folder / "texts.jsonl"
    write_texts(texts)
    seeds = ",".join(str(seed) for seed in range(1, count + 1))
    command = [sys.executable, "-m", "minigpt.commands.main", "train", "-m", *TINY,
               f"seed={seeds}", f"hydra.sweep.dir={folder / 'sweep'}",
               f"data.files=[{texts}]", f"data.root={folder / 'tokens'}"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    tables = [read_documents(RunFolder(path.parent), "val")
              for path in sorted(folder.glob("sweep/*/documents.parquet"))]  # fmt: skip
    return [table for table in tables if table is not None]


def real_pairs(tables: list[DocumentTable], pairs: int, shift: float) -> int:
    """How many of so many pairs of three seeds are called different.

    Drawn without replacement within a pair; a run stands in several pairs. shift: taken from each
    token of the second setting.
    """
    rng = np.random.default_rng(5)
    sizes = tables[0].tokens.astype(float)
    nats = np.stack([table.nats for table in tables])
    called = 0
    for _ in range(pairs):
        chosen = rng.permutation(len(tables))[:6]
        a, b = Runs(nats[chosen[:3]], sizes), Runs(nats[chosen[3:]] - shift * sizes, sizes)
        called += this_test(a, b)
    return called


def spread_of(tables: list[DocumentTable]) -> str:
    """The deviation over seeds and that of a seed's fit to a document, in words."""
    loss = np.stack([table.nats / table.tokens for table in tables])
    means = np.array([table.nats.sum() / table.tokens.sum() for table in tables])
    fit = (loss - means[:, None]).std(0, ddof=1)
    return (
        f"{len(tables[0].names)} documents; the deviation over seeds is {means.std(ddof=1):.4f} "
        f"nats a token, that of a seed's fit to a document {np.median(fit):.3f}, and documents "
        f"differ by {loss.mean(0).std(ddof=1):.2f}"
    )


def report_seconds(runs: int, documents: int, folder: Path) -> float:
    """How long the findings of so many finished runs take, the reading of their files included."""
    rng = np.random.default_rng(6)
    truth = Truth(documents=documents)
    names = [f"part-{i % 97}/document-{i}.txt" for i in range(documents)]
    (all_runs,) = simulate(truth, rng, runs, (0.0,))
    for number, nats in enumerate(all_runs.nats):
        run = RunFolder(folder / str(number))
        loss = float(nats.sum() / all_runs.sizes.sum())
        run.write_config({
            "name": "run", "seed": number % 3, "model": {"n_embd": 64 + number // 3},
            "data": {"batch_size": 32}, "optimizer": {"lr": 1e-3}, "trainer": {},
        })  # fmt: skip
        run.write_summary(Summary(
            status=Status.FINISHED, steps=1, tokens_seen=1, wall_seconds=1.0,
            epochs=[Epoch(epoch=1, step=1, train_loss=loss, train_perplexity=None, val_loss=loss,
                          seconds=1.0)],
            best=BestValidation(val_loss=loss, val_perplexity=None, step=1, epoch=1),
        ))  # fmt: skip
        columns: dict[str, Any] = {
            "split": ["val"] * documents, "name": names, "domain": [""] * documents,
            "tokens": all_runs.sizes.astype(int), "bytes": 4 * all_runs.sizes.astype(int),
            "nats": nats, "correct_at_1": [0] * documents, "correct_at_5": [0] * documents,
        }  # fmt: skip
        parquet.write_table(pa.table(columns), run.documents)
    started = time.perf_counter()
    findings(find_runs([folder]))
    return time.perf_counter() - started


def page(parts: dict[str, Any]) -> str:
    truth: Truth = parts["truth"]
    real = ""
    if parts["real"]:
        real = f"""
## Real runs

{parts["real_count"]} tiny runs of equal settings, trained for it, differ in their seed alone:
{parts["real_spread"]}. Pairs of three against three of them, a run in several pairs:
{parts["real"][0]} of {parts["real_pairs"]} are called different, and with {PLANTED} nats taken from
each token of one side {parts["real"][1]} of {parts["real_pairs"]}. Their documents are six
hundred characters of each module of Python's standard library.
"""
    return f"""# Do the report's statistics hold?

Of 100 pairs of equal settings with three seeds each, the report calls {parts["equal"]:.1f}
different at a level of 5%, and it finds {parts["found"]:.0f} of 100 planted differences of
{PLANTED} nats a token. The statistics of a report of {parts["runs"]} runs on
{parts["documents"]:,} documents each take {parts["seconds"]:.1f} seconds, with the reading of
their files. [Comparison](../comparison.md) says what is computed.

The truth of the synthetic runs: {truth.documents} held-out documents, with a median of
{truth.tokens:.0f} tokens, whose losses differ by {truth.hardness} nats a token. Seeds differ by
{truth.seed} nats a token on any text, and by {truth.fit} in how they suit a document. All of these
are standard deviations. The seeds of report B's baseline
[differ as much](three_experiments.md). {parts["pairs"]:,} pairs a row.

## Equal settings that are called different, of 100

{parts["calibration"]}

This test is what the report uses. The hierarchical bootstrap draws seeds, and the same documents
for all, with replacement, and takes percentiles of {DRAWS:,} draws. Of few seeds it makes too
little, and it counts their fit to documents twice: where the two errors cancel, it is right by
accident. The last column is the rule that the report had before. Hundred by hundred, this test
calls {parts["hundreds"]} of the pairs with three seeds different.

Of 100 intervals of a planted difference, {parts["covered"][0]:.1f} hold it with two seeds,
{parts["covered"][1]:.1f} with three and {parts["covered"][2]:.1f} with five.

## Planted differences that are found

Three seeds a setting. The planted change suits some documents better than others, by
{truth.setting} nats a token.

{parts["power"]}

## Where it is less sure

{parts["hard"]}

With one seed the interval is right for other documents, and wrong for other seeds: the report says
so in each sentence.
{real}
```sh
python benchmarks/differences.py --pairs {parts["pairs"]} --real {parts["real_count"]}
```
"""


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--pairs", type=int, default=2000, help="pairs of each row")
    parser.add_argument("--real", type=int, default=40, help="tiny runs to train; 0: none")
    parser.add_argument("--runs", type=int, default=50, help="runs of the report that is timed")
    parser.add_argument("--documents", type=int, default=10_000, help="documents of each")
    args: argparse.Namespace = parser.parse_args()
    truth = Truth()
    parts: dict[str, Any] = {"truth": truth, "pairs": args.pairs, "real": None}
    with tempfile.TemporaryDirectory() as place:
        parts["seconds"] = report_seconds(args.runs, args.documents, Path(place))
    parts |= {"runs": args.runs, "documents": args.documents, "real_count": args.real}
    if args.real:
        with tempfile.TemporaryDirectory() as place:
            tables = real_runs(args.real, Path(place))
        parts["real_pairs"] = min(args.pairs, 1000)
        parts["real"] = [real_pairs(tables, parts["real_pairs"], shift) for shift in (0, PLANTED)]
        parts["real_spread"] = spread_of(tables)
    parts["calibration"] = calibration(truth, args.pairs)
    parts["hundreds"] = hundreds(truth, args.pairs)
    (parts["equal"],) = rates(truth, 3, 0.0, args.pairs, [this_test])
    parts["covered"] = [coverage(truth, seeds, args.pairs) for seeds in SEEDS]
    parts["power"], parts["found"] = power(truth, args.pairs)
    parts["hard"] = hard_cases(truth, args.pairs)
    publish("statistics", page(parts), args.stdout)


if __name__ == "__main__":
    main()
