"""What benchmarks/data.py times, each function in a process of its own (`in_process`).

python benchmarks/data_sides.py FUNCTION ARGUMENTS     with the arguments as a JSON list
"""

import gzip
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

BATCH, BLOCK = 32, 128


def in_process(function: str, *arguments: Any) -> Any:
    """Call one of FUNCTIONS in a new process and return its result."""
    process = subprocess.run(
        [sys.executable, __file__, function, json.dumps(arguments)],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if process.returncode:
        raise SystemExit(f"{function} failed")
    return json.loads(process.stdout)


WITHOUT_GIGATOKEN = """
import sys
from minigpt.commands.main import main
sys.modules["gigatoken"] = None
main(sys.argv[1:])
"""


def minigpt_command(arguments: list[str], gigatoken: bool = True) -> dict[str, float]:
    """Run a `minigpt` command: its seconds, those of the preparation in it, and its peak MiB.

    Call this while the calling process is small: a new process inherits its parent's peak memory.
    gigatoken: whether that package can be imported.
    """
    program = ["-m", "minigpt.commands.main"] if gigatoken else ["-c", WITHOUT_GIGATOKEN]
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *program, *arguments], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"minigpt {' '.join(arguments)} failed")
    preparation = re.search(r"made in ([\d.]+) s", output)
    return {
        "seconds": time.perf_counter() - start,
        "preparation": float(preparation[1]) if preparation else 0.0,
        "peak": usage.ru_maxrss / 1024,
    }


def texts_of(files: list[str]) -> Iterator[str]:
    for name in files:
        with gzip.open(name) if name.endswith(".gz") else open(name, "rb") as file:
            for line in file:
                yield json.loads(line)["text"]


def characters(files: list[str]) -> int:
    return sum(map(len, texts_of(files)))


def tiktoken_seconds(files: list[str]) -> float:
    """tiktoken's batch call on texts that are in memory already."""
    from minigpt.tokens.byte_pairs import BytePairTokenizer
    from minigpt.tokens.tokenizer import load_tokenizer

    tokenizer, texts = load_tokenizer("gpt2"), list(texts_of(files))
    assert isinstance(tokenizer, BytePairTokenizer)
    encoding = tokenizer.encoding
    start = time.perf_counter()
    encoding.encode_ordinary_batch(texts, num_threads=os.cpu_count() or 1)
    return time.perf_counter() - start


def loader_rates(folder: str, rounds: int, batches: int) -> dict[str, list[float]]:
    """Tokens per second of our DataLoader and of random slices stacked one by one, in turns.

    A small corpus has fewer batches in an epoch; then that many are timed.
    """
    import torch

    from minigpt.batches.blocks import Blocks
    from minigpt.batches.loader import BlockBatches, BlockLoader
    from minigpt.model.loss import IGNORE
    from minigpt.tokens.store import TokenStore

    torch.set_num_threads(1)
    store = TokenStore(Path(folder))
    blocks = Blocks(store.tokens("train"), BLOCK, BLOCK, IGNORE)
    flat = np.memmap(f"{folder}/train-00000.bin", store.manifest.dtype, mode="r")
    batches = min(batches, len(blocks) // BATCH - 1)  # one batch warms up
    if batches < 1:
        raise SystemExit(f"the corpus is too small: it needs {2 * BATCH} blocks of {BLOCK} tokens")

    def loader() -> Iterator[Any]:
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

    rates: dict[str, list[float]] = {"loader": [], "slices": []}
    sides: dict[str, Callable[[], Iterator[Any]]] = {"loader": loader, "slices": slices}
    for _ in range(rounds):
        for name, start_side in sides.items():
            stream = start_side()
            next(stream)
            start = time.perf_counter()
            for _ in range(batches):
                next(stream)
            rates[name].append(batches * BATCH * BLOCK / (time.perf_counter() - start))
    return rates


def write_sparse_store(name: str, tokens: int) -> None:
    """Write a store of so many zeros as sparse files, which take no space on disk."""
    from minigpt.tokens.manifest import MANIFEST, VERSION, Manifest
    from minigpt.tokens.sharded import document_list_path, shard_path
    from minigpt.tokens.tokenizer import load_tokenizer
    from minigpt.tokens.writer import PART_TOKENS

    folder = Path(name)
    folder.mkdir()
    shards = []
    for number, start in enumerate(range(0, tokens, PART_TOKENS)):
        count = min(PART_TOKENS, tokens - start)
        with shard_path(folder, "train", number).open("wb") as file:
            file.truncate(2 * count)
        document_list_path(folder, "train", number).touch()
        shards.append({"tokens": count, "sha256": "", "list_bytes": 0, "list_sha256": ""})
    nothing = {"train": 0, "val": 0, "test": 0}
    manifest = Manifest(
        version=VERSION,
        dtype="uint16",
        tokens={**nothing, "train": tokens},
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
    """From the folder of a store to its first shuffled batch."""
    from minigpt.batches.blocks import Blocks
    from minigpt.batches.loader import BlockBatches, BlockLoader
    from minigpt.model.loss import IGNORE
    from minigpt.tokens.store import TokenStore

    start = time.perf_counter()
    blocks = Blocks(TokenStore(Path(folder)).tokens("train"), BLOCK, BLOCK, IGNORE)
    next(iter(BlockLoader(BlockBatches(blocks, BATCH, 1, 0, 1), 0)))
    return time.perf_counter() - start


def start_seconds(overrides: list[str]) -> float:
    """From a composed configuration with a prepared store to the first training batch."""
    from minigpt.config import compose_config
    from minigpt.training.build import build_data

    cfg = compose_config(["model=base", *overrides])
    start = time.perf_counter()
    next(iter(build_data(cfg)[0].train_dataloader()))
    return time.perf_counter() - start


def write_copies(files: list[str], times: int, path: str) -> None:
    """Write the corpus several times over, with no two documents the same."""
    with gzip.open(path, "wt", compresslevel=1, encoding="utf-8") as out:
        for i in range(times):
            for text in texts_of(files):
                out.write(json.dumps({"text": f"copy {i} {text}"}) + "\n")


def write_long_texts(files: list[str], name: str, line: int, document: int) -> dict[str, list[str]]:
    """Write one long line, one long JSON record and one long text; return overrides for each."""
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


FUNCTIONS: dict[str, Callable[..., Any]] = {
    f.__name__: f
    for f in (characters, tiktoken_seconds, loader_rates, write_sparse_store, open_seconds,
              start_seconds, write_copies, write_long_texts)
}  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(FUNCTIONS[sys.argv[1]](*json.loads(sys.argv[2]))))
