"""Measure whether the report's statistics hold: on synthetic runs of known truth, and on real ones.

python benchmarks/differences.py                 writes docs/results/statistics.md
python benchmarks/differences.py --real 0        trains no runs
python benchmarks/differences.py --pairs 100 --stdout
"""

import argparse
import json
import math
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet
from results import argument_parser, markdown_table, publish

from minigpt.evaluation.document_table import DocumentTable, read_documents
from minigpt.reports.compared_runs import find_runs
from minigpt.reports.findings import findings
from minigpt.runs.run_folder import RunFolder
from minigpt.runs.summary import BestValidation, Epoch, Status, Summary
from minigpt.statistics.best import standings
from minigpt.statistics.difference import LEVEL, Repeats, mean_difference
from minigpt.statistics.ratio import influence

PLANTED = 0.01  # nats a token
DRAWS = 1000  # of the bootstrap
SEEDS = (2, 3, 5)
TINY = ["data=files", "data.tokenizer=char", "data.val_fraction=0.2", "data.test_fraction=0",
        "model.n_layer=1", "model.n_embd=32", "model.n_head=2", "model.block_size=64",
        "model.vocab_size=null", "data.batch_size=32", "data.stride=64", "trainer.max_epochs=-1",
        "trainer.max_steps=100", "~callbacks.samples", "logger=csv",
        "optimizer.lr=3e-3"]  # fmt: skip


@dataclass(frozen=True)
class Truth:
    """What makes the figures of synthetic runs; deviations in nats a token."""

    documents: int = 400
    tokens: float = 300.0  # median of a document
    spread: float = 1.0  # deviation of the logarithm of that
    hardness: float = 0.7  # deviation between documents
    seed: float = 0.002  # between seeds, on any text
    fit: float = 0.02  # of a seed's fit to a document
    setting: float = 0.02  # of the fit of a planted change to a document

    def sizes(self, rng: np.random.Generator) -> NDArray[np.float64]:
        return np.ceil(self.tokens * np.exp(self.spread * rng.normal(size=self.documents)))


@dataclass(frozen=True)
class Runs:
    """K runs of one setting on D documents."""

    nats: NDArray[np.float64]  # (K, D)
    sizes: NDArray[np.float64]  # (D)

    @property
    def repeats(self) -> Repeats:
        values = self.nats.sum(1) / self.sizes.sum()
        return Repeats(values, np.stack([influence(row, self.sizes) for row in self.nats]))


def simulate(
    truth: Truth,
    rng: np.random.Generator,
    seeds: int,
    shifts: tuple[float, ...],
    wider: float = 1.0,
) -> list[Runs]:
    """A setting for each shift of the mean loss, on the same documents.

    wider: how many times as far apart the seeds of the first setting are.
    """
    sizes, hardness = truth.sizes(rng), 4 + truth.hardness * rng.normal(size=truth.documents)
    settings = []
    for number, shift in enumerate(shifts):
        deviation = truth.seed * (1.0 if number else wider)
        loss = (
            hardness
            + shift
            + (truth.setting * rng.normal(size=truth.documents) if shift else 0)
            + deviation * rng.normal(size=(seeds, 1))
            + truth.fit * rng.normal(size=(seeds, truth.documents))
        )
        settings.append(Runs(loss * sizes, sizes))
    return settings


def this_test(a: Runs, b: Runs) -> bool:
    return mean_difference([(a.repeats, b.repeats)]).p <= LEVEL


def twice_the_deviation(a: Runs, b: Runs) -> bool:
    """What the report called more than marginal before."""
    low, high = a.repeats.values, b.repeats.values
    deviation = math.sqrt((low.var(ddof=1) + high.var(ddof=1)) / 2)
    return abs(high.mean() - low.mean()) >= 2 * deviation


class Bootstrap:
    """The percentile interval of a hierarchical bootstrap, over seeds and documents."""

    def __init__(self, documents: int, rng: np.random.Generator) -> None:
        self.rng = rng
        self.weights = rng.multinomial(documents, [1 / documents] * documents, DRAWS)  # (S, D)

    def __call__(self, a: Runs, b: Runs) -> bool:
        total = self.weights @ a.sizes  # (S)
        means = [self._mean(side, total) for side in (a, b)]
        low, high = np.quantile(means[1] - means[0], [LEVEL / 2, 1 - LEVEL / 2])
        return bool(low > 0 or high < 0)

    def _mean(self, side: Runs, total: NDArray[np.float64]) -> NDArray[np.float64]:
        values = self.weights @ side.nats.T / total[:, None]  # (S, K)
        seeds = len(side.nats)
        drawn = self.rng.integers(0, seeds, (DRAWS, seeds))
        return np.take_along_axis(values, drawn, 1).mean(1)


Test = Callable[[Runs, Runs], bool]


def rates(truth: Truth, seeds: int, shift: float, pairs: int, tests: list[Test]) -> list[float]:
    """How many of 100 pairs each test calls different."""
    rng = np.random.default_rng([seeds, int(1e6 * shift), int(1e6 * truth.seed)])
    called = np.zeros(len(tests))
    for _ in range(pairs):
        a, b = simulate(truth, rng, seeds, (0.0, -shift))
        called += [test(a, b) for test in tests]
    return (100 * called / pairs).tolist()


def calibration(truth: Truth, pairs: int) -> str:
    bootstrap = Bootstrap(truth.documents, np.random.default_rng(1))
    rows = [["seeds differ", "seeds of each setting", "this test", "hierarchical bootstrap",
             "twice the deviation of seeds"], ["---"] + ["---:"] * 4]  # fmt: skip
    kinds = {
        "on any text, and in their fit to a document": truth,
        "on any text": replace(truth, fit=0),
    }
    for name, kind in kinds.items():
        for seeds in SEEDS:
            found = rates(kind, seeds, 0.0, pairs, [this_test, bootstrap, twice_the_deviation])
            rows.append([name, str(seeds), *(f"{rate:.1f}" for rate in found)])
    return markdown_table(rows)


def hundreds(truth: Truth, pairs: int) -> str:
    """How many of each hundred equal pairs of three seeds are called different."""
    rng = np.random.default_rng(2)
    called = [this_test(*simulate(truth, rng, 3, (0.0, 0.0))) for _ in range(pairs // 100 * 100)]
    return ", ".join(str(sum(called[i : i + 100])) for i in range(0, min(len(called), 1000), 100))


def coverage(truth: Truth, seeds: int, pairs: int) -> float:
    """Of 100 95% intervals, those that hold a planted difference."""
    rng = np.random.default_rng(seeds)
    held = 0
    for _ in range(pairs):
        a, b = simulate(truth, rng, seeds, (0.0, -PLANTED))
        difference = mean_difference([(a.repeats, b.repeats)])
        held += abs(difference.value + PLANTED) <= difference.margin
    return 100 * held / pairs


def power(truth: Truth, pairs: int) -> tuple[str, float]:
    """Planted differences that are found, by the deviation of seeds; and for the truth's own."""
    rows = [["deviation of seeds", f"{PLANTED} nats found, of 100",
             "least difference it claims to see, median"], ["---:"] * 3]  # fmt: skip
    of_truth = math.nan
    for deviation in (0.001, 0.002, 0.003, 0.004, 0.006):
        at = replace(truth, seed=deviation)
        (found,) = rates(at, 3, PLANTED, pairs, [this_test])
        rng = np.random.default_rng(3)
        least = []
        for _ in range(min(pairs, 300)):
            a, b = simulate(at, rng, 3, (0.0, -PLANTED))
            least.append(mean_difference([(a.repeats, b.repeats)]).detectable)
        rows.append([f"{deviation:.3f}", f"{found:.0f}", f"{np.median(least):.4f}"])
        if deviation == truth.seed:
            of_truth = found
    return markdown_table(rows), of_truth


def hard_cases(truth: Truth, pairs: int) -> str:
    rows = [["case", "wrong, of 100"], ["---", "---:"]]
    (one,) = rates(truth, 1, 0.0, pairs, [this_test])
    rows.append(["equal settings, one seed each: the error over documents alone", f"{one:.1f}"])
    rng = np.random.default_rng(4)
    called = 0
    for _ in range(pairs):
        called += this_test(*simulate(truth, rng, 3, (0.0, 0.0), wider=3))
    rows.append(["equal means, one setting with three times the deviation over seeds",
                 f"{100 * called / pairs:.1f}"])  # fmt: skip
    sweeps, left_out, any_left_out = max(pairs // 10, 10), 0, 0
    for _ in range(sweeps):
        settings = [side.repeats for side in simulate(truth, rng, 3, (0.0,) * 10)]
        worse = {place.index for place in standings(settings) if place.is_worse}
        left_out += 0 in worse
        any_left_out += bool(worse)
    rows.append(["ten equal settings: a given one is called worse than the best",
                 f"{100 * left_out / sweeps:.1f}"])  # fmt: skip
    rows.append(["ten equal settings: any is called worse than the best",
                 f"{100 * any_left_out / sweeps:.1f}"])  # fmt: skip
    return markdown_table(rows)


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
