"""What is fuzzed: a function of some bytes for each format that a stranger's file may have.

It may accept the bytes or refuse them with UserError; anything else is a finding.
"""

import contextlib
import dataclasses
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pyarrow as pa
import torch
from omegaconf import OmegaConf
from pyarrow import parquet

from minigpt.config import plain
from minigpt.error_lines import one_line_errors
from minigpt.errors import UserError
from minigpt.interop.gpt2_folder import read_weights
from minigpt.interop.gpt2_weights import to_gpt2_weights
from minigpt.model.gpt import GPT
from minigpt.runs.checkpoints import read_checkpoint
from minigpt.runs.metrics import COLUMNS, read_metrics
from minigpt.runs.run_config import parsed
from minigpt.runs.run_folder import RunFolder
from minigpt.runs.summary import Status, Summary
from minigpt.text.opening import BytesRead
from minigpt.text.readers.read import read_texts
from minigpt.tokens.manifest import MANIFEST, VERSION, Manifest
from minigpt.tokens.parts import finished_parts
from minigpt.tokens.store import TokenStore
from minigpt.tokens.tokenizer import CharTokenizer, load_tokenizer
from tests.model.test_gpt import SMALL

MEMORY = "/dev/shm"  # where a file costs no disk
SHAPE = dataclasses.replace(
    SMALL, vocab_size=5, block_size=4, n_layer=1, n_head=1, n_embd=4, head_bias=False
)


@dataclass(frozen=True)
class Target:
    """A format: what reads it, bytes that are right, and how many inputs it gets."""

    name: str
    read: Callable[[bytes], bool]  # True if it took them
    seeds: Callable[[], list[bytes]]
    share: int  # of a million inputs, in thousands


@cache
def folder():
    """A folder of this process, in memory where there is one."""
    return Path(tempfile.mkdtemp(dir=MEMORY if os.access(MEMORY, os.W_OK) else None))


def of_file(name, read):
    """A function of bytes that puts them into a file first."""

    def read_bytes(content):
        path = folder() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        try:
            read(path)
        except UserError:
            return False
        return True

    return read_bytes


def read_all(path):
    for _, text in read_texts(path, "text", BytesRead()):
        for _ in [text] if isinstance(text, str) else text:
            pass


def open_store(path):
    for name in ("train-00000.bin", "train-00000.jsonl"):  # the empty shard of the seed
        (path.parent / name).touch()
    TokenStore(path.parent)


def open_parts(path):
    finished_parts(path.parent, 2)


def read_model(path):
    read_weights(path.parent, SHAPE)


def run_of(path):
    return RunFolder(path.parent)


def read_config(path):
    plain(OmegaConf.create(run_of(path).read_config()))  # resolved, as a resume does


@cache
def gpt2():
    return load_tokenizer("gpt2")


def read_prompt(content):
    text = content.decode("utf-8", "ignore")
    tokenizer = gpt2()
    assert tokenizer.decode(tokenizer.encode(text)) == text
    return True


def read_overrides(content):
    words = content.decode("utf-8", "ignore").split("\n")
    try:
        with contextlib.redirect_stderr(io.StringIO()), one_line_errors():
            parsed(words)
    except SystemExit:
        return False
    return True


def manifest_seeds():
    shard = {"tokens": 0, "sha256": "0" * 64, "list_bytes": 0, "list_sha256": "0" * 64}
    counts = {"train": 0, "val": 0, "test": 0}
    manifest = Manifest(
        VERSION, "uint16", counts, counts, {"train": [shard], "val": [], "test": []}, {}, 0, 0,
        {"name": "", "tokens": 0}, 0, [0.0, 0.0], CharTokenizer("ab").spec(), "", "",
    )  # fmt: skip
    return [manifest.to_json().encode()]


def part_seeds():
    counts = {"train": 1, "val": 0, "test": 0}
    lists = {split: {"bytes": 1, "sha256": "0"} for split in counts}
    content = {
        "read": 1, "duplicates": 0, "planted": 0, "empty": 0, "largest_id": 1, "tokens": counts,
        "documents": counts, "sha256": dict.fromkeys(counts, "0"), "lists": lists, "domains": {},
        "left_out": {"documents": 0, "tokens": 0}, "longest": {"name": "", "tokens": 0},
    }  # fmt: skip
    return [json.dumps(content).encode(), b"{}"]


def parquet_seeds():
    content = io.BytesIO()
    parquet.write_table(pa.table({"text": ["one", "two", None]}), content)
    return [content.getvalue()]


def checkpoint_seeds():
    content = io.BytesIO()
    sections = {"model": {}, "tokenizer": {}, "data": {"text": ""}}
    torch.save({"hyper_parameters": sections, "state_dict": {"a": torch.zeros(2)}}, content)
    archive = zipfile.ZipFile(content)
    name = next(record for record in archive.namelist() if record.endswith("data.pkl"))
    return [content.getvalue(), archive.read(name)]


def structure_of_checkpoint(content):
    """The pickle of an archive whose checksums are right, so that it is not refused for these."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/data/0", bytes(8))
    return READ_CHECKPOINT(file.getvalue())


def safetensors_seeds():
    from safetensors.torch import save

    return [save(to_gpt2_weights(SHAPE, GPT(SHAPE).state_dict()))]


def config_seeds():
    sections = "model: {n_layer: 1}\ndata: {root: a}\noptimizer: {}\ntrainer: {}\n"
    return [
        sections.encode(),
        (sections + "callbacks: {a: {_target_: b, c: '${seed}'}}\nseed: 1\n").encode(),
    ]


def summary_seeds():
    return [Summary(status=Status.FINISHED).model_dump_json().encode()]


READ_CHECKPOINT = of_file("checkpoint/last.ckpt", read_checkpoint)

TARGETS = (
    Target("a store's manifest", of_file(f"store/{MANIFEST}", open_store), manifest_seeds, 100),
    Target("a part's record", of_file("parts/part-00000.json", open_parts), part_seeds, 100),
    Target("JSON lines", of_file("text.jsonl", read_all),
           lambda: [b'{"text": "one"}\n{"text": "\\u0041\\ud800"}\n', b'[{"text": "a"}]'], 150),
    Target("Parquet", of_file("text.parquet", read_all), parquet_seeds, 50),
    Target("CSV", of_file("text.csv", read_all), lambda: [b'text,b\n"one, ""two""",3\n'], 100),
    Target("overrides", read_overrides, lambda: [b"model.n_layer=2\ndata.files=[a,'b c']\n~x"], 50),
    Target("prompts", read_prompt, lambda: ["Twice a day, é\u2028\U0001f600".encode()], 100),
    Target("summary.json", of_file("run/summary.json", lambda p: run_of(p).read_summary()),
           summary_seeds, 100),
    Target("config.yaml", of_file("run/config.yaml", read_config), config_seeds, 50),
    Target("metrics.csv", of_file("run/metrics.csv", read_metrics),
           lambda: [(",".join([*COLUMNS, "other"]) + "\n" + "1," * len(COLUMNS) + "{}\n").encode()],
           100),
    Target("a checkpoint", READ_CHECKPOINT, lambda: checkpoint_seeds()[:1], 25),
    Target("a checkpoint's structure", structure_of_checkpoint, lambda: checkpoint_seeds()[1:], 25),
    Target("safetensors", of_file("model/model.safetensors", read_model), safetensors_seeds, 50),
)  # fmt: skip
