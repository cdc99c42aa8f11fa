"""Times the token stream: preparing a corpus, opening its store, drawing batches.

    python benchmarks/data.py corpora/*.jsonl.gz     writes docs/results/data.md
    python benchmarks/data.py notes.jsonl --rounds 1 --quick --stdout

The files are JSON lines with a `text` field. Everything that has a rival is measured beside it in
the same run, in turns; a preparation is the whole command, in a process of its own.
"""

import argparse
import gzip
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).parent.parent
BATCH, BLOCK = 32, 128
LARGE_TOKENS = 10**9


def texts_of(files: list[str]) -> Iterator[str]:
    for name in files:
        with gzip.open(name) if name.endswith(".gz") else open(name, "rb") as file:
            for line in file:
                yield json.loads(line)["text"]


def bare_seconds(files: list[str]) -> float:
    """tiktoken's own batch call over texts that are in memory already."""
    from minigpt.tokens.tokenizer import gpt2_encoding

    encoding, texts = gpt2_encoding(), list(texts_of(files))
    start = time.perf_counter()
    encoding.encode_ordinary_batch(texts, num_threads=os.cpu_count() or 1)
    return time.perf_counter() - start


def loader_rates(folder: str, rounds: int, batches: int) -> dict[str, list[float]]:
    """Tokens a second of our DataLoader and of random slices stacked one by one, in turns."""
    import torch

    from minigpt.batches.blocks import Blocks
    from minigpt.batches.loader import BlockBatches, BlockLoader
    from minigpt.model.loss import IGNORE
    from minigpt.tokens.store import TokenStore

    torch.set_num_threads(1)
    store = TokenStore(Path(folder))
    blocks = Blocks(store.tokens("train"), BLOCK, BLOCK, IGNORE)
    flat = np.memmap(f"{folder}/train-00000.bin", store.manifest.dtype, mode="r")

    def ours() -> Iterator[Any]:
        return iter(BlockLoader(BlockBatches(blocks, BATCH, 1, 0, 1), 0))

    def slices() -> Iterator[Any]:
        while True:
            at = torch.randint(len(flat) - BLOCK - 1, (BATCH,)).tolist()
            yield (
                torch.stack([torch.from_numpy(flat[i : i + BLOCK].astype(np.int64)) for i in at]),
                torch.stack(
                    [torch.from_numpy(flat[i + 1 : i + 1 + BLOCK].astype(np.int64)) for i in at]
                ),
            )

    rates: dict[str, list[float]] = {"ours": [], "slices": []}
    sides: dict[str, Callable[[], Iterator[Any]]] = {"ours": ours, "slices": slices}
    for _ in range(rounds):
        for name, start_side in sides.items():
            stream = start_side()
            next(stream)
            start = time.perf_counter()
            for _ in range(batches):
                next(stream)
            rates[name].append(batches * BATCH * BLOCK / (time.perf_counter() - start))
    return rates


def sparse_store(folder: Path) -> None:
    """A store of LARGE_TOKENS zeros that takes no room on the disk."""
    from minigpt.tokens.manifest import MANIFEST, VERSION, Manifest
    from minigpt.tokens.sharded import shard_path
    from minigpt.tokens.tokenizer import load_tokenizer
    from minigpt.tokens.writer import PART_TOKENS

    folder.mkdir()
    shards = []
    for number, start in enumerate(range(0, LARGE_TOKENS, PART_TOKENS)):
        count = min(PART_TOKENS, LARGE_TOKENS - start)
        with shard_path(folder, "train", number).open("wb") as file:
            file.truncate(2 * count)
        shards.append({"tokens": count, "sha256": ""})
    nothing = {"train": 0, "val": 0, "test": 0}
    manifest = Manifest(
        version=VERSION,
        dtype="uint16",
        tokens={**nothing, "train": LARGE_TOKENS},
        documents={**nothing, "train": 1},
        shards={"train": shards, "val": [], "test": []},
        domains={},
        duplicates=0,
        empty=0,
        longest={"name": "", "tokens": 0},
        largest_id=50256,
        held_out=[0, 0],
        tokenizer=load_tokenizer("gpt2").spec(),
        text="",
        fingerprint="",
    )
    (folder / MANIFEST).write_text(manifest.to_json())


def open_seconds(folder: str) -> float:
    """From a store's folder to its first shuffled batch."""
    from minigpt.batches.blocks import Blocks
    from minigpt.batches.loader import BlockBatches, BlockLoader
    from minigpt.model.loss import IGNORE
    from minigpt.tokens.store import TokenStore

    start = time.perf_counter()
    blocks = Blocks(TokenStore(Path(folder)).tokens("train"), BLOCK, BLOCK, IGNORE)
    next(iter(BlockLoader(BlockBatches(blocks, BATCH, 1, 0, 1), 0)))
    return time.perf_counter() - start


def start_seconds(overrides: list[str]) -> float:
    """From a composed configuration, its store up to date, to the first training batch."""
    from minigpt.config import compose_config
    from minigpt.training.build import build_data

    cfg = compose_config(["model=base", *overrides])
    start = time.perf_counter()
    next(iter(build_data(cfg)[0].train_dataloader()))
    return time.perf_counter() - start


def command(arguments: list[str]) -> dict[str, float]:
    """Seconds of a `minigpt` command, and of the preparation in it, and its peak memory in MiB.

    It runs in a process of its own, started by this one while that is small: a new process counts
    its parent's memory as its own peak.
    """
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "minigpt.commands.main", *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"minigpt {' '.join(arguments)} failed")
    made = re.search(r"made in ([\d.]+) s", said)
    return {
        "seconds": time.perf_counter() - start,
        "made": float(made[1]) if made else 0.0,
        "peak": usage.ru_maxrss / 1024,
    }


def child(function: str, argument: Any) -> Any:
    """The result of one of this file's functions, called in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--child", function, json.dumps(argument)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


CHILDREN: dict[str, Callable[[Any], Any]] = {
    "bare": bare_seconds,
    "loader": lambda a: loader_rates(*a),
    "open": open_seconds,
    "start": start_seconds,
    "chars": lambda files: sum(map(len, texts_of(files))),
    "times": lambda a: times_as_large(*a),
    "long": lambda a: long_files(*a),
}


def times_as_large(files: list[str], times: int, path: str) -> None:
    """Writes the corpus over and over, no two documents the same."""
    with gzip.open(path, "wt", compresslevel=1, encoding="utf-8") as out:
        for i in range(times):
            for text in texts_of(files):
                out.write(json.dumps({"text": f"copy {i} {text}"}) + "\n")


def long_files(files: list[str], name: str, line: int, document: int) -> dict[str, list[str]]:
    """A single long line, one long JSON record and one long text among others, as overrides."""
    folder = Path(name)
    text = "\n\n".join(islice(texts_of(files), 500))
    flat = text.replace("\n", " ")
    (folder / "line.txt").write_text((flat * (line // len(flat) + 1))[:line], "utf-8")
    (folder / "short.txt").write_text("A short text beside it.", "utf-8")
    (folder / "long.txt").write_text((text * (document // len(text) + 1))[:document], "utf-8")
    record = json.dumps({"id": 1, "text": (text * (line // len(text) + 1))[:line]})
    (folder / "record.jsonl").write_text(record + "\n", "utf-8")
    return {
        "a line of text": [f"data.files=[{folder}/line.txt,{folder}/short.txt]"],
        "a line of JSON": [f"data.files=[{folder}/record.jsonl,{folder}/short.txt]"],
        "a document": [f"data.files=[{folder}/long.txt,{folder}/short.txt]"],
    }


def spread(values: list[float], digits: int = 2) -> str:
    return (
        f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f} to "
        f"{max(values):,.{digits}f})"
    )


def measure(files: list[str], rounds: int, quick: bool) -> tuple[list[tuple[str, str]], int]:
    """(what, how much) rows, and the characters of the corpus."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus = ["data=files", f"data.files=[{','.join(files)}]"]
        chars = child("chars", files)
        bare, made = [], []
        for i in range(rounds):
            bare.append(child("bare", files))
            made.append(command(["prepare", *corpus, f"data.root={folder}/{i}"]))
        mb = chars / 1e6
        ratios = [b / m["made"] for b, m in zip(bare, made, strict=True)]
        rows.append(
            ("bare `encode_ordinary_batch`, all cores, MB/s", spread([mb / b for b in bare], 1))
        )
        rows.append(("a preparation, MB/s", spread([mb / m["made"] for m in made], 1)))
        rows.append(("... and the start of its command, MB/s",
                     spread([mb / m["seconds"] for m in made], 1)))  # fmt: skip
        rows.append(("a preparation as a multiple of the bare call", spread(ratios)))
        again = [command(["prepare", *corpus, f"data.root={folder}/0"]) for _ in range(rounds)]
        rows.append(
            ("`minigpt prepare` again, up to date, s", spread([a["seconds"] for a in again]))
        )
        peak = statistics.median(m["peak"] for m in made)
        rows.append(("peak memory of a preparation, MiB", spread([m["peak"] for m in made], 0)))

        times = 2 if quick else 10
        large = folder / "large.jsonl.gz"
        child("times", [files, times, str(large)])
        large_corpus = ["data=files", f"data.files=[{large}]", f"data.root={folder}/large"]
        found = command(["prepare", *large_corpus])
        rows.append((f"... of a corpus {times} times as large, MiB",
                     f"{found['peak']:,.0f} ({found['peak'] / peak - 1:+.1%})"))  # fmt: skip
        line, document = (20 * 10**6, 50 * 10**6) if quick else (200 * 10**6, 500 * 10**6)
        long = child("long", [files, str(folder), line, document])
        for what, overrides in long.items():
            size = document if what == "a document" else line
            found = command(["prepare", "data=files", *overrides, f"data.root={folder}/long"])
            rows.append((f"... of {what} of {size / 1e6:,.0f} MB, MiB", f"{found['peak']:,.0f}"))

        store = next((folder / "0").glob("files-*"))
        rates = child("loader", [str(store), rounds, 200 if quick else 3000])
        rows.append((f"DataLoader, one core, {BATCH} x {BLOCK}, million tokens/s",
                     spread([r / 1e6 for r in rates["ours"]], 1)))  # fmt: skip
        rows.append(("random numpy slices stacked one by one, million tokens/s",
                     spread([r / 1e6 for r in rates["slices"]], 1)))  # fmt: skip
        rows.append(("the first as a multiple of the second", spread(
            [a / b for a, b in zip(rates["ours"], rates["slices"], strict=True)])))  # fmt: skip

        sparse_store(folder / "sparse")
        opened = [child("open", str(folder / "sparse")) for _ in range(rounds)]
        rows.append(("a store of 10^9 tokens: opened, first shuffled batch, s", spread(opened, 3)))
        for what, overrides in {
            "the corpus": [*corpus, f"data.root={folder}/0"],
            f"the corpus {times} times as large": large_corpus,
        }.items():
            began = [child("start", overrides) for _ in range(rounds)]
            rows.append((f"{what}: from configuration to the first batch, s", spread(began)))
    return rows, chars


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(CHILDREN[sys.argv[2]](json.loads(sys.argv[3]))))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", help="JSON lines, plain or .gz")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="smaller long texts, fewer batches")
    parser.add_argument("--stdout", action="store_true", help="print, do not write the page")
    args = parser.parse_args()
    files = [str(Path(name).resolve()) for name in args.files]
    rows, chars = measure(files, args.rounds, args.quick)
    table = "\n".join(f"| {what} | {much} |" for what, much in rows)
    names = " ".join(Path(name).name for name in files)
    page = f"""# The token stream

`python benchmarks/data.py {names}`: {chars / 1e6:,.0f} million
characters as JSON lines, on {os.cpu_count()} cores, Python {platform.python_version()},
{args.rounds} rounds in turns; medians, with the least and the most. A preparation goes from files
and an empty folder to a finished, synced store; the bare call has its texts in memory already and
keeps nothing. Starting to train leaves out the import of torch and
Lightning.

| what | measured |
|---|---|
{table}
"""
    if args.stdout:
        print(page)
    else:
        (REPOSITORY / "docs/results/data.md").write_text(page, "utf-8")


if __name__ == "__main__":
    main()
