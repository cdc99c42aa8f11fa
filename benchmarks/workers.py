"""Measure a preparation by workers against one by this process alone, and kill it.

    python benchmarks/workers.py                writes docs/results/workers.md
    python benchmarks/workers.py --rounds 1 --files 4 --kills 2 --stdout

The text is lines of Python's standard library in random order, in JSON lines of 16 MB.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

from machine import REPOSITORY, machine_description
from results import argument_parser, markdown_table, publish, spread

FILE_BYTES = 16_000_000
LINES = 400  # of a document
WORKERS = (1, 2, 4)
KILLED_WORKERS = 4


def write_text(folder: Path, files: int) -> list[str]:
    """The files of the corpus; returns the words that name them."""
    library = Path(sysconfig.get_path("stdlib"))
    lines = [
        line
        for path in sorted(library.glob("*.py"))
        for line in path.read_text("utf-8", errors="replace").splitlines()
    ]
    rng = random.Random(1)
    for number in range(files):
        with (folder / f"{number:03}.jsonl").open("w") as file:
            while file.tell() < FILE_BYTES:
                text = "\n".join(rng.choices(lines, k=LINES))
                file.write(json.dumps({"text": text}) + "\n")
    return ["data=files", f"data.files=[{folder}/*.jsonl]"]


def command(words: list[str], root: Path) -> list[str]:
    return [sys.executable, "-m", "minigpt.commands.main", "prepare", *words, f"data.root={root}"]


def store_in(root: Path) -> Path:
    """The one store below a folder."""
    return next(path.parent for path in root.glob("*/manifest.json"))


def seconds(words: list[str], root: Path, cores: int) -> float:
    """Of a preparation by its command, into an empty folder, on so many cores."""
    shutil.rmtree(root, ignore_errors=True)
    started = time.perf_counter()
    subprocess.run(
        command(words, root), check=True, cwd=REPOSITORY, stdout=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, range(cores)),
    )  # fmt: skip
    return time.perf_counter() - started


def processes(preparation: subprocess.Popen[bytes]) -> list[int]:
    """The preparation and its workers."""
    found = [preparation.pid]
    for thread in Path("/proc").glob(f"{preparation.pid}/task/*/children"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            found += map(int, thread.read_text().split())
    return found


def kill_until(words: list[str], root: Path, kills: int, whole: float) -> dict[str, int]:
    """Kill a random process of a preparation at random times, so many times, and let it end.

    whole: seconds that it takes undisturbed.
    """
    shutil.rmtree(root, ignore_errors=True)
    rng = random.Random(1)
    counts = {"of the whole": 0, "of a worker": 0}
    while sum(counts.values()) < kills:
        preparation = subprocess.Popen(
            command(words, root), cwd=REPOSITORY,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(rng.uniform(0.3, 0.3 + whole / 4))
        if preparation.poll() is not None:  # it was done before its time; begin anew
            shutil.rmtree(root)
            continue
        victim = rng.choice(processes(preparation))
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
            counts["of the whole" if victim == preparation.pid else "of a worker"] += 1
        preparation.wait()
    subprocess.run(command(words, root), check=True, cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    return counts


def same_bytes(a: Path, b: Path) -> bool:
    names = sorted(path.name for path in a.iterdir())
    return names == sorted(path.name for path in b.iterdir()) and all(
        (a / name).read_bytes() == (b / name).read_bytes() for name in names
    )


def main() -> None:
    parser = argument_parser(__doc__, rounds=3)
    parser.add_argument("--files", type=int, default=24)
    parser.add_argument("--kills", type=int, default=20)
    args = parser.parse_args()
    taken: dict[int, list[float]] = {workers: [] for workers in (0, *WORKERS)}
    with tempfile.TemporaryDirectory() as folder:
        texts, root = Path(folder, "texts"), Path(folder, "stores")
        texts.mkdir()
        words = write_text(texts, args.files)
        size = sum(path.stat().st_size for path in texts.iterdir())
        same = True
        for _ in range(args.rounds):
            for workers, values in taken.items():
                engine = ["engine=local", f"workers={workers}"] if workers else []
                values.append(seconds([*words, *engine], root / str(workers), cores(workers)))
                same &= same_bytes(store_in(root / "0"), store_in(root / str(workers)))
                print(workers, values[-1], file=sys.stderr, flush=True)
        killed_words = [*words, "engine=local", f"workers={KILLED_WORKERS}"]
        kills = kill_until(killed_words, root / "killed", args.kills, min(taken[KILLED_WORKERS]))
        same_after = same_bytes(store_in(root / "0"), store_in(root / "killed"))
    publish("workers", page(taken, size, same, kills, same_after), args.stdout)


def cores(workers: int) -> int:
    """That a side may use: one a worker, as far as there are; all without an engine."""
    available = os.cpu_count() or 1
    return min(workers, available) or available


def page(
    taken: dict[int, list[float]],  # workers, 0 for no engine -> seconds
    size: int,
    same: bool,
    kills: dict[str, int],
    same_after: bool,
) -> str:
    rows = [["workers", "cores", "MB/s", "times one worker"], ["---"] + ["---:"] * 3]
    for workers, values in taken.items():
        ratios = [one / value for one, value in zip(taken[1], values, strict=True)]
        rates = [size / value / 1e6 for value in values]
        rows.append(
            [str(workers or "no engine"), str(cores(workers)), spread(rates, ".0f"), spread(ratios)]
        )
    killed = ", ".join(f"{count} {what}" for what, count in kills.items())
    return f"""# Preparation by workers

`python benchmarks/workers.py` on {machine_description()}.

{size / 1e6:,.0f} MB of JSON lines, from the command to the finished store, in the command's process
and its workers, held to one core for each worker as far as there are. "No engine" is the
preparation in one process, which tokenizes on all of them. All stores have the same bytes:
{"yes" if same else "NO"}.

{markdown_table(rows)}

{sum(kills.values())} kills of a preparation by {KILLED_WORKERS} workers at random times ({killed}),
each followed by the same command: the store has the bytes of the undisturbed one:
{"yes" if same_after else "NO"}.
"""


if __name__ == "__main__":
    main()
