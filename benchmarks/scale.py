"""Measure what several processes and a very large text cost.

    python benchmarks/scale.py                    writes docs/results/scale.md
    python benchmarks/scale.py --rounds 1 --tokens 1e4 --shards 100 --stdout

The text is 10^11 tokens in 10,000 shards of sparse files, which take no room on the disk.
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

from machine import REPOSITORY, machine_description, print_result, run_script
from results import argument_parser, markdown_table, publish, spread

SHARD_TOKENS = 10**7
BATCH, CONTEXT = 32, 128
VOCABULARY = 50_257
NETWORK = ["experiment=baseline", "data.tokenizer=char", "model.vocab_size=null"]


def train(root: Path, processes: int, tokens: float) -> float:
    """Tokens a second of a run on all cores, in so many processes."""
    from minigpt.runs.run_folder import RunFolder

    run = RunFolder(root / f"{processes}-{time.monotonic_ns()}")
    cores = os.cpu_count() or 1
    subprocess.run(
        [sys.executable, str(REPOSITORY / "train.py"), *NETWORK, f"trainer.devices={processes}",
         f"budget.tokens={tokens}", "logger=none", "~callbacks.samples", "~callbacks.best",
         "budget.validations=1", "trainer.limit_test_batches=0", "trainer.limit_val_batches=1",
         f"data.root={root}/tokens", f"hydra.run.dir={run.path}"],
        check=True, stdout=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": str(max(1, cores // processes)),
             "GLOO_SOCKET_IFNAME": "lo"},
    )  # fmt: skip
    speed = run.read_summary().tokens_per_second
    assert speed
    return speed


def divided_weights(root: Path, steps: int) -> dict[str, float]:
    """Largest relative differences of two processes with divided weights from one process.

    The two are stopped half way and resumed. Keys: train/loss, grad_norm.
    """
    from minigpt.runs.metrics import read_metrics
    from minigpt.runs.run_folder import RunFolder

    one, two = (RunFolder(root / name) for name in ("one", "two"))
    train_py = [sys.executable, str(REPOSITORY / "train.py")]
    start = [*train_py, "model=base", "data=sample", "data.batch_size=16", "loss=dense",
             "trainer.precision=32-true", "trainer.accelerator=cpu", "scheduler=none",
             "logger=csv", "trainer.log_every_n_steps=1", "trainer.limit_val_batches=4",
             "trainer.limit_test_batches=4", f"data.root={root}/tokens"]  # fmt: skip
    two_processes = ["trainer.devices=2", "trainer.strategy=fsdp2"]
    for command in (
        [*start, f"trainer.max_steps={steps}", f"hydra.run.dir={one.path}"],
        [*start, *two_processes, f"trainer.max_steps={steps // 2}", f"hydra.run.dir={two.path}"],
        [*train_py, f"resume={two.path}", f"trainer.max_steps={steps}"],
    ):
        subprocess.run(
            command, check=True, stdout=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        )  # fmt: skip
    largest = dict.fromkeys(("train/loss", "grad_norm"), 0.0)
    for ours, theirs in zip(read_metrics(two.metrics), read_metrics(one.metrics), strict=True):
        for key in largest:
            if key in theirs:
                largest[key] = max(largest[key], abs(ours[key] / theirs[key] - 1))
    return largest


def write_sparse_store(folder: Path, shards: int) -> None:
    """A store whose ids are all 0, in files without content."""
    from minigpt.tokens.manifest import MANIFEST, VERSION, Manifest
    from minigpt.tokens.sharded import document_list_path, shard_path
    from minigpt.tokens.tokenizer import CharTokenizer

    for number in range(shards):
        with shard_path(folder, "train", number).open("wb") as file:
            file.truncate(2 * SHARD_TOKENS)
        document_list_path(folder, "train", number).touch()
    record = {"tokens": SHARD_TOKENS, "sha256": "0" * 64, "list_bytes": 0, "list_sha256": "0" * 64}
    tokens = {"train": shards * SHARD_TOKENS, "val": 0, "test": 0}
    manifest = Manifest(
        VERSION, "uint16", tokens, {"train": 0, "val": 0, "test": 0},
        {"train": [record] * shards, "val": [], "test": []}, {}, 0, 0,
        {"name": "", "tokens": 0}, 0, [0.0, 0.0], CharTokenizer("ab").spec(), "", "",
    )  # fmt: skip
    (folder / MANIFEST).write_text(manifest.to_json())


def open_store(folder: str) -> dict[str, Any]:
    """Seconds and memory from opening a store to a batch, and then for each further batch."""
    import resource

    from minigpt.batches.blocks import Blocks
    from minigpt.batches.loader import BlockBatches
    from minigpt.tokens.store import TokenStore

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    blocks = Blocks(TokenStore(Path(folder)).tokens("train"), CONTEXT, CONTEXT, -100)
    batches = BlockBatches(blocks, BATCH, 1, 0, 1)
    batches[0]
    first = time.perf_counter() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    started = time.perf_counter()
    for number in range(1, 1001):
        batches[number]
    return {
        "first": first,
        "mib": memory / 1024,
        "batch": (time.perf_counter() - started) / 1000,
        "tokens": len(blocks.tokens),
    }


def first_batch_from_bucket(url: str, cache: str) -> dict[str, Any]:
    """Seconds from a configuration to a shuffled batch of a store in a bucket, and what it cost."""
    from minigpt.batches.blocks import Blocks
    from minigpt.batches.config import DataConfig
    from minigpt.batches.loader import BlockBatches
    from minigpt.config import build, compose_config
    from minigpt.tokens.prepare import prepare

    started = time.perf_counter()
    config = compose_config(["data=store", f"data.files=[{url}]", f"data.cache={cache}"])
    store = prepare(build(DataConfig, "data", config.data)).store
    blocks = Blocks(store.tokens("train"), CONTEXT, CONTEXT, -100)
    BlockBatches(blocks, BATCH, 1, 0, 1)[0]
    seconds = time.perf_counter() - started
    copied = sum(path.stat().st_size for path in Path(cache).rglob("*.bin"))
    return {"seconds": seconds, "copied": copied}


def measure_bucket(rounds: int, shards: int) -> list[dict[str, Any]]:
    """First batches of a store of so many full shards from an S3 server on loopback."""
    import boto3
    from moto.server import ThreadedMotoServer

    from minigpt.tokens.object_store import RemoteFolder

    os.environ.update(
        AWS_ACCESS_KEY_ID="key", AWS_SECRET_ACCESS_KEY="secret", AWS_DEFAULT_REGION="us-east-1"
    )
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ["AWS_ENDPOINT_URL_S3"] = f"http://{host}:{port}"
    boto3.client("s3").create_bucket(Bucket="tokens")
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder, "store")
        store.mkdir()
        write_sparse_store(store, shards)
        RemoteFolder("s3://tokens/store").upload(store)
    measured = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            url = "s3://tokens/store"
            measured.append(run_script(__file__, "bucket", url, cache, folder=cache))
    server.stop()
    return measured


def page(
    speeds: dict[int, list[float]],
    steps: int,
    differences: dict[str, float],
    opened: list[dict[str, Any]],
    shards: int,
) -> str:
    ratio = [two / one for one, two in zip(speeds[1], speeds[2], strict=True)]
    rows = [["processes", "threads of each", "tokens a second"], ["---", "---:", "---:"]]
    cores = os.cpu_count() or 1
    for processes, values in speeds.items():
        rows.append([str(processes), str(max(1, cores // processes)), spread(values, ",.0f")])
    seconds, memory, batch = (
        statistics.median(each[key] for each in opened) for key in ("first", "mib", "batch")
    )
    return f"""# Several processes and a very large text

`python benchmarks/scale.py` on {machine_description()}.

## Two processes on one machine

Report B's baseline over characters, the same batches of {BATCH} blocks, on the same cores. Two
processes over gloo train {spread(ratio)} times as many tokens a second as one; each computes half
of a batch and the whole of AdamW. Preparation by workers has [its own page](workers.md).

{markdown_table(rows)}

## Divided weights

The network of `model=base` with GPT-2's {VOCABULARY:,} ids, in float32 and with dropout, trained
for {steps} steps by one process and by two with `trainer.strategy=fsdp2`, which were stopped after
step {steps // 2} and resumed. Of all steps the largest relative difference is
{differences["train/loss"]:.0e} in the training loss and {differences["grad_norm"]:.0e} in the
gradient norm. The norm of one process is the less exact: torch adds the squares of the table's six
million gradients in float32, and two processes add half as many each.

## A text of {opened[0]["tokens"]:,} tokens

{shards:,} shards, opened in a new process: {seconds:.2f} s and {memory:.0f} MiB until the first
batch, with the check of all files' sizes, then {batch * 1e3:.2f} ms for each further batch of
{BATCH} blocks from all over the text. The files are sparse, so this is without the time of a disk.
"""


def bucket_section(in_bucket: list[dict[str, Any]], bucket_shards: int) -> str:
    return f"""
## A text in a bucket

A store of {bucket_shards * 2 * SHARD_TOKENS / 1e9:.1f} GB in {bucket_shards} shards on an S3 server
on loopback, and an empty cache: {spread([each["seconds"] for each in in_bucket])} s from the
configuration to the first shuffled batch of {BATCH} blocks, without the import of torch. By then
{spread([each["copied"] / 1e6 for each in in_bucket], ",.0f")} MB were copied.
"""


def main() -> None:
    if sys.argv[1:2] == ["bucket"]:
        print_result(first_batch_from_bucket(*sys.argv[2:]))
        return
    if sys.argv[1:2] == ["open"]:
        print_result(open_store(sys.argv[2]))
        return
    parser = argument_parser(__doc__, rounds=3)
    parser.add_argument("--tokens", type=float, default=4e5, help="that each run trains on")
    parser.add_argument("--shards", type=int, default=10_000, help="of ten million tokens each")
    parser.add_argument("--bucket-shards", type=int, default=50, help="of the store in a bucket")
    parser.add_argument("--steps", type=int, default=20, help="of the runs with divided weights")
    args = parser.parse_args()
    speeds: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(args.rounds):
            for processes, values in speeds.items():
                values.append(train(Path(folder), processes, args.tokens))
                print(processes, values[-1], file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        write_sparse_store(Path(folder), args.shards)
        opened = [run_script(__file__, "open", folder, folder=folder) for _ in range(args.rounds)]
    with tempfile.TemporaryDirectory() as folder:
        differences = divided_weights(Path(folder), args.steps)
    in_bucket = measure_bucket(args.rounds, args.bucket_shards)
    results = {"speeds": speeds, "differences": differences, "opened": opened, "bucket": in_bucket}
    print(json.dumps(results), file=sys.stderr)
    text = page(speeds, args.steps, differences, opened, args.shards)
    publish("scale", text + bucket_section(in_bucket, args.bucket_shards), args.stdout)


if __name__ == "__main__":
    main()
