"""Time generation beside `transformers`' own `generate`.

    python benchmarks/generate.py               writes docs/results/generate.md
    python benchmarks/generate.py --avx2        the same processor without AVX-512, a section apart
    python benchmarks/generate.py --rounds 1 --configs mini --stdout

generate.json keeps the rounds of each kind of processor, and a run replaces only those of its own
kind. Both sides have the same weights and a key/value cache and sample at temperature 1 without
top-k or top-p. They take turns in one process. Needs `transformers`.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

from machine import HELD, hold_to_avx2, instructions, kind, machine_description
from models import transformers_gpt2, transformers_weights
from results import (
    argument_parser,
    markdown_table,
    publish,
    spread,
    store_kind,
    stored_kinds,
)

from minigpt.config import share_cores
from minigpt.version import code_commit

CONFIGS = ("mini", "base", "wide")
SEQUENCES = (1, 32)  # generated at a time
PROMPT_TOKENS = 8

Rounds = list[tuple[float, float]]  # seconds per token of (minigpt, transformers), one per round


def networks(name: str, root: str) -> tuple[Any, Any]:
    """Our network with random weights, and a transformers GPT-2 with the same weights."""
    import torch

    from minigpt.config import compose_config
    from minigpt.model.gpt import GPT
    from minigpt.training.build import build_data

    _, config = build_data(compose_config([f"model={name}", f"data.root={root}"]))
    torch.manual_seed(1)
    ours = GPT(config).eval()
    theirs = transformers_gpt2(config).eval()
    weights = transformers_weights(ours.state_dict())
    missing, unexpected = theirs.load_state_dict(weights, strict=False)
    assert not unexpected, unexpected
    assert all("attn.bias" in key for key in missing), missing  # their causal mask, if stored
    return ours, theirs


def measure(name: str, rounds: int, root: str) -> dict[int, Rounds]:
    """Number of sequences -> seconds per token in each round."""
    import torch

    from minigpt.model.generate import Sampling, generate

    ours, theirs = networks(name, root)
    new_tokens = ours.config.block_size - PROMPT_TOKENS

    def seconds_per_token(generate_once: Callable[[], Any]) -> float:
        start = time.perf_counter()
        generate_once()
        return (time.perf_counter() - start) / new_tokens

    results: dict[int, Rounds] = {}
    for sequences in SEQUENCES:
        prompt = torch.randint(1000, (sequences, PROMPT_TOKENS))
        mask = torch.ones_like(prompt)

        def minigpt(prompt: Any = prompt, greedy: bool = False) -> Any:
            return generate(ours, prompt, new_tokens, Sampling(greedy=greedy), seed=1)

        def transformers(prompt: Any = prompt, mask: Any = mask, greedy: bool = False) -> Any:
            return theirs.generate(
                prompt, attention_mask=mask, max_new_tokens=new_tokens, min_new_tokens=new_tokens,
                do_sample=not greedy, top_k=0, pad_token_id=0,
            )  # fmt: skip

        if ours.head.bias is None or not ours.head.bias.any():
            assert torch.equal(minigpt(greedy=True), transformers(greedy=True)), "other network"
        timed = [
            (seconds_per_token(minigpt), seconds_per_token(transformers)) for _ in range(1 + rounds)
        ]
        results[sequences] = timed[1:]  # the first round warms up
    return results


def table(stored: dict[str, Any]) -> str:
    lines = [["processor", "configuration", "sequences", "minigpt, ms a token",
              "transformers, ms a token", "**faster by**"], ["---"] * 6]  # fmt: skip
    for name, results in stored.items():
        title = f"{name} ({', '.join(results['instructions'])})"
        for config, by_sequences in results["configs"].items():
            for sequences, rounds in by_sequences.items():
                ms = [f"{statistics.median(r[side] for r in rounds) * 1e3:.2f}" for side in (0, 1)]
                faster = spread([theirs / ours for ours, theirs in rounds])
                lines.append([title, config, str(sequences), *ms, faster])
    return markdown_table(lines)


def page(stored: dict[str, Any]) -> str:
    machines = "\n".join(
        f"- {name}: {r['machine']}, transformers {r['transformers']}; commit "
        f"{(r['commit'] or 'unknown')[:7]}; {r['rounds']} rounds."
        for name, r in stored.items()
    )
    held = f"""
*{HELD}* is not a machine of its own: environment variables kept torch, oneDNN and MKL from the
AVX-512 that the processor has.
"""
    return f"""# Speed of generation

`python benchmarks/generate.py`. Both sides have the same float32 weights and a key/value cache, and
continue a prompt of {PROMPT_TOKENS} tokens to the end of the context, sampling from the whole
distribution. They take turns in one process. The script first checks that both produce the same
tokens under greedy decoding. Times are medians; the ratio is that of a round, with its minimum and
maximum. The raw figures are in [generate.json](generate.json).

{machines}
{held if HELD in stored else ""}
{table(stored)}
"""


def main() -> None:
    parser = argument_parser(__doc__, rounds=7)
    parser.add_argument("--configs", nargs="+", choices=CONFIGS, default=list(CONFIGS))
    parser.add_argument("--avx2", action="store_true", help="do without AVX-512, both sides")
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error("--rounds must be at least 1")
    share_cores()  # before torch is imported
    if args.avx2:
        hold_to_avx2()
    import transformers

    results: dict[str, Any] = {
        "machine": machine_description(), "instructions": instructions(),
        "transformers": transformers.__version__, "commit": code_commit(), "rounds": args.rounds,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as root:
        results["configs"] = {name: measure(name, args.rounds, root) for name in args.configs}
    if not args.stdout:
        store_kind("generate", kind(), results)
    stored = {kind(): results} if args.stdout else stored_kinds("generate")
    publish("generate", page(stored), args.stdout)


if __name__ == "__main__":
    main()
