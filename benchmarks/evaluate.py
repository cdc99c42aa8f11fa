"""Time `minigpt evaluate` beside a plain loop over `transformers` on the same weights and windows.

    python benchmarks/evaluate.py               writes docs/results/evaluation.md
    python benchmarks/evaluate.py --avx2        the same processor without AVX-512, a section apart
    python benchmarks/evaluate.py --rounds 1 --configs mini --tokens 2000 --stdout

evaluation.json keeps the rounds of each kind of processor, and a run replaces only those of its own
kind. The text is held-out files of Python's library, the weights are random, and the sides take
turns in one process. The loop pads windows to one length, takes all logits and torch's
cross-entropy, and has the better of two batch sizes in each round. Needs `transformers`.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from machine import HELD, hold_to_avx2, instructions, kind, machine_description
from models import transformers_gpt2, transformers_weights
from results import argument_parser, markdown_table, publish, spread, store_kind, stored_kinds

from minigpt.config import share_cores
from minigpt.version import code_commit

CONFIGS = ("mini", "base", "wide")
BATCHES = (8, 32)  # windows that the loop reads at a time
IGNORE = -100


def prepared(name: str, root: str) -> tuple[Any, Any, Any]:
    """(model with random weights, transformers' model with the same, token store)."""
    import torch

    from minigpt.config import compose_config
    from minigpt.evaluation.trained_model import TrainedModel
    from minigpt.model.gpt import GPT
    from minigpt.tokens.tokenizer import from_spec
    from minigpt.training.build import build_data

    text = ["data=stdlib", "data.max_tokens=1000000", f"data.root={root}"]
    data, config = build_data(compose_config([f"model={name}", "model.head_bias=false", *text]))
    torch.manual_seed(1)
    net = GPT(config).eval()
    theirs = transformers_gpt2(config).eval()
    theirs.load_state_dict(transformers_weights(net.state_dict()))
    tokenizer = from_spec(data.store.manifest.tokenizer)
    return TrainedModel(net, tokenizer, tokenizer.end_of_text, Path(), ""), theirs, data.store


def windows_of(model: Any, store: Any, tokens: int) -> list[Any]:
    """The windows that both sides score, of the first `tokens` tokens."""
    from minigpt.evaluation.trained_model import documents_of
    from minigpt.evaluation.windows import document_windows

    block_size = model.net.config.block_size
    windows: list[Any] = []
    for _, ids in documents_of(store, "val", model.tokenizer):
        windows += document_windows(ids[:tokens], model.separator, block_size, block_size)
        tokens -= len(ids)
        if tokens <= 0:
            break
    return windows


def transformers_nats(net: Any, windows: list[Any], batch_size: int) -> Any:
    """The nats of every scored token, as a plain loop has them."""
    import torch
    import torch.nn.functional as F

    nats = []
    with torch.inference_mode():
        for start in range(0, len(windows), batch_size):
            batch = windows[start : start + batch_size]
            T = max(len(window.ids) for window in batch) - 1
            inputs = torch.zeros(len(batch), T, dtype=torch.long)
            targets = torch.full((len(batch), T), IGNORE)
            for row, window in enumerate(batch):
                ids = torch.from_numpy(window.ids.astype("int64"))
                inputs[row, : len(ids) - 1] = ids[:-1]
                targets[row, len(ids) - 1 - window.scored : len(ids) - 1] = ids[-window.scored :]
            logits = net(input_ids=inputs, use_cache=False).logits
            losses = F.cross_entropy(
                logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORE, reduction="none"
            )
            nats.append(losses[targets.flatten() != IGNORE])
    return torch.cat(nats)


def own_nats(model: Any, windows: list[Any], precision: Any) -> Any:
    import numpy as np
    import torch

    from minigpt.evaluation.windows import Scorer

    scores = Scorer(model.net, precision).score(windows)
    return torch.from_numpy(np.concatenate([score.nats for score in scores]))


def measure(name: str, rounds: int, tokens: int, root: str) -> dict[str, Any]:
    """Seconds of each side in each round, and how far their nats are apart."""
    import torch

    from minigpt.evaluation.evaluate import evaluate

    model, theirs, store = prepared(name, root)
    windows = windows_of(model, store, tokens)
    reference = transformers_nats(theirs, windows, BATCHES[0])
    differences = {}
    for precision in (torch.float32, torch.bfloat16):
        ours = own_nats(model, windows, precision)
        differences[str(precision).removeprefix("torch.")] = {
            "token": (ours - reference).abs().max().item(),
            "loss": abs((ours - reference).double().mean().item()),
        }

    def own(precision: Any) -> None:
        evaluate(model, store, ["val"], precision=precision, limits={"val": tokens})

    def seconds(run: Callable[[], Any]) -> float:
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    def sides() -> Iterator[tuple[str, float]]:
        yield "float32", seconds(partial(own, torch.float32))
        yield "bfloat16", seconds(partial(own, torch.bfloat16))
        loops = [partial(transformers_nats, theirs, windows, size) for size in BATCHES]
        yield "transformers", min(map(seconds, loops))

    measured = [dict(sides()) for _ in range(1 + rounds)]
    return {"tokens": len(reference), "rounds": measured[1:], "differences": differences}


def faster(result: dict[str, Any], side: str = "float32") -> list[float]:
    return [times["transformers"] / times[side] for times in result["rounds"]]


def table(stored: dict[str, Any]) -> str:
    lines = [["processor", "configuration", "transformers, tokens/s", "minigpt, tokens/s",
              "**faster by**", "largest difference of a token", "bfloat16 faster by",
              "its largest difference", "of the loss"], ["---"] * 9]  # fmt: skip
    for name, results in stored.items():
        title = f"{name} ({', '.join(results['instructions'])})"
        for config, result in results["configs"].items():
            speeds = [
                f"{result['tokens'] / statistics.median(r[side] for r in result['rounds']):,.0f}"
                for side in ("transformers", "float32")
            ]
            apart = result["differences"]
            lines.append(
                [title, config, *speeds, spread(faster(result)),
                 f"{apart['float32']['token']:.1e} nats", spread(faster(result, "bfloat16")),
                 f"{apart['bfloat16']['token']:.1e} nats", f"{apart['bfloat16']['loss']:.1e} nats"]
            )  # fmt: skip
    return markdown_table(lines)


def conclusion(stored: dict[str, Any]) -> str:
    """What a reader should conclude, in three sentences."""
    results = [r for of_kind in stored.values() for r in of_kind["configs"].values()]
    ratios = [statistics.median(faster(result)) for result in results]
    apart = max(result["differences"]["float32"]["token"] for result in results)
    rough = max(result["differences"]["bfloat16"]["token"] for result in results)
    loss = max(result["differences"]["bfloat16"]["loss"] for result in results)
    return (
        f"In float32 `minigpt evaluate` gives each token the nats that `transformers` gives it, to "
        f"{apart:.0e} nats. It is {min(ratios):.1f} to {max(ratios):.1f} times as fast as a plain "
        "loop, and counts ranks, bytes and contexts besides. With `--precision "
        f"bfloat16` single tokens are up to {rough:.0e} nats off and the mean loss {loss:.0e}, so "
        "float32 is the default."
    )


def page(stored: dict[str, Any]) -> str:
    machines = "\n".join(
        f"- {name}: {r['machine']}, transformers {r['transformers']}; commit "
        f"{(r['commit'] or 'unknown')[:7]}; "
        f"rounds: {len(next(iter(r['configs'].values()))['rounds'])}, each of "
        f"{next(iter(r['configs'].values()))['tokens']:,} tokens."
        for name, r in stored.items()
    )
    held = f"""
*{HELD}* is not a machine of its own: environment variables kept torch, oneDNN and MKL from the
AVX-512 that the processor has.
"""
    return f"""# Evaluation beside a plain loop

{conclusion(stored)}

`python benchmarks/evaluate.py`. Both sides have the same random weights and read the same windows
of held-out files of Python's library. The loop pads windows to one length, takes all logits from
`GPT2LMHeadModel` and their cross-entropy, and has in each round the better of batches of
{BATCHES[0]} and {BATCHES[1]} windows. The shapes are those of [conf/model](../../conf/model), with
`model.head_bias=false`, which GPT-2's format needs. The sides take turns in one process; speeds are
medians, and a ratio is that of a round, with its minimum and maximum.

{machines}
{held if HELD in stored else ""}
{table(stored)}
"""


def main() -> None:
    parser = argument_parser(__doc__, rounds=5)
    parser.add_argument("--configs", nargs="+", choices=CONFIGS, default=list(CONFIGS))
    parser.add_argument("--tokens", type=int, default=16_384, help="tokens of the text")
    parser.add_argument("--avx2", action="store_true", help="do without AVX-512, all sides")
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error("--rounds must be at least 1")
    share_cores()  # before torch is imported
    if args.avx2:
        hold_to_avx2()
    import transformers

    results: dict[str, Any] = {
        "machine": machine_description(), "instructions": instructions(),
        "transformers": transformers.__version__, "commit": code_commit(),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as root:
        results["configs"] = {
            name: measure(name, args.rounds, args.tokens, root) for name in args.configs
        }
    if not args.stdout:
        store_kind("evaluation", kind(), results)
    stored = {kind(): results} if args.stdout else stored_kinds("evaluation")
    publish("evaluation", page(stored), args.stdout)


if __name__ == "__main__":
    main()
