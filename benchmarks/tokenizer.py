"""Measure tokenizers trained on a corpus: their trainers, their ids, and what they save.

    python benchmarks/tokenizer.py corpora/*.jsonl.gz     writes docs/results/tokenizer.md
    python benchmarks/tokenizer.py notes.jsonl --quick --stdout

The files are JSON lines with a `text` field. All of them together are the corpus on which trainers,
speeds and ids are compared; bytes a token are also given for each file alone. Everything is
measured in processes of its own. A trainer that is not installed is left out:

    pip install --no-deps --target /tmp/rustbpe rustbpe
    PYTHONPATH=/tmp/rustbpe python benchmarks/tokenizer.py corpora/*.jsonl.gz
"""

import os
import platform
import statistics
import tempfile
from pathlib import Path
from typing import Any

from results import argument_parser, markdown_table, publish, spread
from tokenizer_sides import TRAINERS, in_process, version_of

SIZE = 8192
SIZES = (4096, 8192, 16384)
QUICK_SIZES = (300, 400)
STRINGS, QUICK_STRINGS = 1_000_000, 20_000
SHAPE = ["experiment=baseline"]
SECONDS = {False: 20.0, True: 1.0}  # of training steps that are timed; True: --quick


def trainers(corpus: list[str], size: int, rounds: int) -> str:
    """A table of the trainers: seconds, memory, and whether their tokens are the same."""
    before = in_process("memory_before", corpus)["peak"]
    rows = [["trainer", "seconds", "MB/s", "memory, MiB", "twice the same", "tokens as the first"],
            ["---", *["---:"] * 5]]  # fmt: skip
    first: list[str] | None = None
    for name in TRAINERS:
        version = version_of(name)
        if version is None:
            rows.append([f"{name} (not installed)", *[""] * 5])
            continue
        results = [in_process("train", name, corpus, size) for _ in range(max(2, rounds))]
        tokens = results[0]["tokens"]
        first = first or tokens
        seconds = [r["seconds"] for r in results]
        peak = statistics.median(r["peak"] for r in results) - before
        same = len({r["fingerprint"] for r in results}) == 1
        equal = next((i for i, (a, b) in enumerate(zip(first, tokens, strict=False)) if a != b),
                     min(len(first), len(tokens)))  # fmt: skip
        shared = len({*first} & {*tokens}) / len(first)
        rate = results[0]["bytes"] / statistics.median(seconds) / 1e6
        rows.append([
            f"{name} {version}", spread(seconds), f"{rate:,.1f}", f"{peak / 2**20:,.0f}",
            "yes" if same else "no", f"{shared:.1%}, the first {equal:,} in the same order",
        ])  # fmt: skip
    return markdown_table(rows)


def bytes_a_token(corpora: dict[str, list[str]], sizes: tuple[int, ...]) -> str:
    """A table of mean bytes a token in held-out text, by corpus and tokenizer."""
    names = ["gpt2", *(f"bpe-{size}" for size in sizes)]
    rows = [["held-out text of", *names], ["---", *["---:"] * len(names)]]
    for title, corpus in corpora.items():
        cells = [title]
        for name in names:
            found = in_process("held_out_bytes_a_token", [*corpus, f"data.tokenizer={name}"])
            cells.append(f"{found['bytes'] / found['tokens']:.2f}")
        rows.append(cells)
    return markdown_table(rows)


def speeds(corpus: list[str], names: list[str], rounds: int) -> str:
    """A table of how fast ids are made on one core."""
    rows = [["tokenizer", "tiktoken, MB/s", "as a preparation encodes, MB/s"],
            ["---", "---:", "---:"]]  # fmt: skip
    for name in names:
        rates = in_process("encode_rates", [*corpus, f"data.tokenizer={name}"], rounds)
        rows.append([name, *(spread(rates[side], ",.1f") for side in ("tiktoken", "preparation"))])
    return markdown_table(rows)


def training(corpus: list[str], names: list[str], rounds: int, seconds: float) -> tuple[str, str]:
    """A table of bytes trained on a second, in turns, and the ratio of the second to the first."""
    results: dict[str, list[Any]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            overrides = [*SHAPE, *corpus, f"data.tokenizer={name}"]
            results[name].append(in_process("training_step", overrides, seconds))

    def rate(r: Any) -> float:
        return float(r["tokens"] * r["bytes_a_token"] / r["seconds"])

    rows = [["tokenizer", "seconds a step", "tokens/s", "bytes a token", "kB trained on a second"],
            ["---", *["---:"] * 4]]  # fmt: skip
    for name, runs in results.items():
        rows.append([
            name, spread([r["seconds"] for r in runs], ",.3f"),
            f"{statistics.median(r['tokens'] / r['seconds'] for r in runs):,.0f}",
            f"{runs[0]['bytes_a_token']:.2f}", spread([rate(r) / 1e3 for r in runs], ",.1f"),
        ])  # fmt: skip
    first, second = (results[name] for name in names)
    ratios = [rate(b) / rate(a) for a, b in zip(first, second, strict=True)]
    return markdown_table(rows), spread(ratios)


def main() -> None:
    parser = argument_parser(__doc__, rounds=3)
    parser.add_argument("files", nargs="+", help="JSON lines, plain or .gz")
    parser.add_argument("--quick", action="store_true", help="small vocabularies, few strings")
    args = parser.parse_args()
    files = [str(Path(name).resolve()) for name in args.files]
    names = [Path(name).name for name in files]
    size = QUICK_SIZES[0] if args.quick else SIZE
    own = f"bpe-{size}"
    with tempfile.TemporaryDirectory() as root:

        def corpus(chosen: list[str]) -> list[str]:
            return ["data=files", f"data.files=[{','.join(chosen)}]", f"data.root={root}",
                    "data.val_fraction=0.05", "data.test_fraction=0.05"]  # fmt: skip

        whole = corpus(files)
        alone = {name: corpus([file]) for name, file in zip(names, files, strict=True)}
        corpora = {**(alone if len(alone) > 1 else {}), "all files": whole}
        size_of = in_process("memory_before", [*whole, "data.tokenizer=gpt2"])["bytes"]
        trained = trainers(whole, size, args.rounds)
        density = bytes_a_token(corpora, QUICK_SIZES if args.quick else SIZES)
        speed = speeds(whole, ["gpt2", own], args.rounds)
        equal = in_process("equal_random_strings", [*whole, f"data.tokenizer={own}"],
                           QUICK_STRINGS if args.quick else STRINGS)  # fmt: skip
        steps, ratio = training(whole, ["gpt2", own], args.rounds, SECONDS[args.quick])
    page = f"""# A tokenizer of the text's own

`python benchmarks/tokenizer.py {" ".join(names)}`
on {os.cpu_count()} cores with Python {platform.python_version()}. Figures are medians of
{args.rounds} rounds, with minimum and maximum in brackets.

## The trainers

A vocabulary of {size:,} ids from {size_of / 1e6:,.1f} million characters of training text that are
in memory already. The memory is what the trainer adds to them. All split the text by GPT-2's
pattern. minigpt uses the first ([tokenizers.md](../tokenizers.md) says why).

{trained}

## Bytes a token

In held-out documents, by tokenizers that were trained on the training documents of the same row.

{density}

## Speed of the ids

{speed}

{equal["strings"]:,} random strings, of any Unicode and of words with any character between them,
with {equal["tokens"]:,} tokens in all: {equal["different"]:,} have other ids than tiktoken's.

## Training

Report B's baseline (`{" ".join(SHAPE)}`), {size:,} ids of the text's own beside GPT-2's 50,257, in
turns. The text trained on in a second is {ratio} times as much.

{steps}
"""
    publish("tokenizer", page, args.stdout)


if __name__ == "__main__":
    main()
