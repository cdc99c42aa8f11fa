"""Time the data pipeline: preparing a corpus, opening its token store, drawing batches.

    python benchmarks/data.py corpora/*.jsonl.gz     writes docs/results/data.md
    python benchmarks/data.py notes.jsonl --rounds 1 --quick --stdout

The files are JSON lines with a `text` field, at least two batches of blocks in all (8,000 tokens).
Where there is an alternative to compare with, both sides take turns. A preparation is a whole
command in a process of its own.
"""

import filecmp
import os
import platform
import statistics
import tempfile
from pathlib import Path

from data_sides import BATCH, BLOCK, in_process, minigpt_command
from results import argument_parser, publish, spread

LARGE_TOKENS = 10**9

Rows = list[tuple[str, str]]  # what was measured, and the figure


def measure(files: list[str], rounds: int, quick: bool) -> Rows:
    corpus = ["data=files", f"data.files=[{','.join(files)}]"]
    times = 2 if quick else 10
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        large = ["data=files", f"data.files=[{folder}/large.jsonl.gz]", f"data.root={folder}/large"]
        rows, peak = preparation(files, corpus, folder, rounds)
        in_process("write_copies", files, times, f"{folder}/large.jsonl.gz")
        large_peak = minigpt_command(["prepare", *large])["peak"]
        rows.append((f"... of a corpus {times} times as large, MiB",
                     f"{large_peak:,.0f} ({large_peak / peak - 1:+.1%})"))  # fmt: skip
        rows += long_texts(files, folder, quick)
        rows += batches(next((folder / "0").glob("files-*")), rounds, 200 if quick else 3000)
        prepared = {
            "the corpus": [*corpus, f"data.root={folder}/0"],
            f"the corpus {times} times as large": large,
        }
        return rows + start_up(prepared, folder, rounds)


def preparation(
    files: list[str], corpus: list[str], folder: Path, rounds: int
) -> tuple[Rows, float]:
    """Speed and memory of `minigpt prepare` beside tiktoken, and the median peak in MiB."""
    tiktoken, prepared, slow = [], [], []
    for i in range(rounds):
        roots = [f"data.root={folder}/{i}", f"data.root={folder}/slow-{i}"]
        tiktoken.append(in_process("tiktoken_seconds", files))
        prepared.append(minigpt_command(["prepare", *corpus, roots[0]]))
        slow.append(minigpt_command(["prepare", *corpus, roots[1]], gigatoken=False))
        check_same_store(folder / f"{i}", folder / f"slow-{i}")
    mb = in_process("characters", files) / 1e6
    ratios = [t / p["preparation"] for t, p in zip(tiktoken, prepared, strict=True)]
    repeated = [
        minigpt_command(["prepare", *corpus, f"data.root={folder}/0"]) for _ in range(rounds)
    ]
    peaks = [p["peak"] for p in prepared]
    return [
        ("tiktoken's `encode_ordinary_batch` alone, all cores, MB/s",
         spread([mb / t for t in tiktoken], ",.1f")),
        ("a preparation, MB/s", spread([mb / p["preparation"] for p in prepared], ",.1f")),
        ("... without gigatoken (the store has the same bytes), MB/s",
         spread([mb / p["preparation"] for p in slow], ",.1f")),
        ("... with the start of its command, MB/s",
         spread([mb / p["seconds"] for p in prepared], ",.1f")),
        ("speed of a preparation relative to tiktoken", spread(ratios)),
        ("`minigpt prepare` again, up to date, s", spread([r["seconds"] for r in repeated])),
        ("peak memory of a preparation, MiB", spread(peaks, ",.0f")),
    ], statistics.median(peaks)  # fmt: skip


def check_same_store(root: Path, other_root: Path) -> None:
    """Exits if the stores below two folders differ in a byte."""
    (store,), (other,) = root.glob("files-*"), other_root.glob("files-*")
    for path in store.iterdir():
        if not filecmp.cmp(path, other / path.name, shallow=False):
            raise SystemExit(f"{path} and {other / path.name} differ")


def long_texts(files: list[str], folder: Path, quick: bool) -> Rows:
    """Peak memory of preparing very long lines and documents."""
    line, document = (20 * 10**6, 50 * 10**6) if quick else (200 * 10**6, 500 * 10**6)
    rows = []
    overrides = in_process("write_long_texts", files, str(folder), line, document)
    for what, its_overrides in overrides.items():
        mb = (document if what == "a document" else line) / 1e6
        result = minigpt_command(
            ["prepare", "data=files", *its_overrides, f"data.root={folder}/long"]
        )
        rows.append((f"... of {what} of {mb:,.0f} MB, MiB", f"{result['peak']:,.0f}"))
    return rows


def batches(store: Path, rounds: int, count: int) -> Rows:
    """Speed of drawing batches from a store."""
    rates = in_process("loader_rates", str(store), rounds, count)
    ratios = [a / b for a, b in zip(rates["loader"], rates["slices"], strict=True)]
    return [
        (f"DataLoader, one core, {BATCH} x {BLOCK}, million tokens/s",
         spread([r / 1e6 for r in rates["loader"]], ",.1f")),
        ("random numpy slices stacked one by one, million tokens/s",
         spread([r / 1e6 for r in rates["slices"]], ",.1f")),
        ("the DataLoader relative to the slices", spread(ratios)),
    ]  # fmt: skip


def start_up(prepared: dict[str, list[str]], folder: Path, rounds: int) -> Rows:
    """Seconds to the first batch, of a huge store and of prepared corpora."""
    sparse = str(folder / "sparse")
    in_process("write_sparse_store", sparse, LARGE_TOKENS)
    opened = [in_process("open_seconds", sparse) for _ in range(rounds)]
    rows = [("a store of 10^9 tokens: opened, first shuffled batch, s", spread(opened, ",.3f"))]
    for what, overrides in prepared.items():
        started = [in_process("start_seconds", overrides) for _ in range(rounds)]
        rows.append((f"{what}: from configuration to the first batch, s", spread(started)))
    return rows


def main() -> None:
    parser = argument_parser(__doc__, rounds=5)
    parser.add_argument("files", nargs="+", help="JSON lines, plain or .gz")
    parser.add_argument("--quick", action="store_true", help="smaller long texts, fewer batches")
    args = parser.parse_args()
    files = [str(Path(name).resolve()) for name in args.files]
    rows = measure(files, args.rounds, args.quick)
    table = "\n".join(f"| {what} | {figure} |" for what, figure in rows)
    names = " ".join(Path(name).name for name in files)
    page = f"""# The data pipeline

`python benchmarks/data.py {names}`
with {in_process("characters", files) / 1e6:,.0f} million characters of JSON lines, on
{os.cpu_count()} cores with Python {platform.python_version()}. Figures are medians of {args.rounds}
rounds, with minimum and maximum in brackets. A preparation goes from files and an empty folder to a
finished store that is synced to disk. tiktoken alone starts with its texts in memory and stores
nothing. The times to the first batch leave out the import of torch and Lightning.

| what | measured |
|---|---|
{table}
"""
    publish("data", page, args.stdout)


if __name__ == "__main__":
    main()
