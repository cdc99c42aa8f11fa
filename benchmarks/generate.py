"""Time generation beside `transformers`' own `generate`, and past the context beside a plain loop.

    python benchmarks/generate.py               writes docs/results/generate.md
    python benchmarks/generate.py --avx2        the same processor without AVX-512, a section apart
    python benchmarks/generate.py --rounds 1 --configs mini --stdout

generate.json keeps the rounds of each kind of processor, and a run replaces only those of its own
kind. Both sides have the same weights and a key/value cache and sample at temperature 1 without
top-k or top-p. They take turns in one process. Past the context the other side is a loop that reads
the whole window again for each token, which is what keys at shifted positions ask for; it writes
fewer tokens. Needs `transformers`.
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

RECOMPUTED = 32  # tokens that the loop without a cache writes

Rounds = list[tuple[float, float]]  # seconds per token of (minigpt, the other side), one per round


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


def seconds_per_token(new_tokens: int, generate_once: Callable[[], Any]) -> float:
    start = time.perf_counter()
    generate_once()
    return (time.perf_counter() - start) / new_tokens


def measure(ours: Any, theirs: Any, rounds: int) -> dict[int, Rounds]:
    """Number of sequences -> seconds per token up to the context's end, in each round."""
    import torch

    from minigpt.model.generate import generate
    from minigpt.model.sampling import Sampling

    new_tokens = ours.config.block_size - PROMPT_TOKENS
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
            (seconds_per_token(new_tokens, minigpt), seconds_per_token(new_tokens, transformers))
            for _ in range(1 + rounds)
        ]
        results[sequences] = timed[1:]  # the first round warms up
    return results


def measure_past_context(ours: Any, rounds: int) -> Rounds:
    """Seconds per token of one sequence that has filled the context, in each round.

    Ours writes two contexts, so that the window begins again four times.
    """
    import torch

    from minigpt.model.generate import generate
    from minigpt.model.sampling import Sampling, draw, next_token_probabilities

    block_size = ours.config.block_size
    prompt = torch.randint(1000, (1, block_size))

    def minigpt() -> Any:
        return generate(ours, prompt, 2 * block_size, Sampling(), seed=1)

    @torch.inference_mode()
    def recomputed() -> Any:
        rng, window = torch.Generator().manual_seed(1), prompt
        head = ours.head.weight.T.contiguous()
        for _ in range(RECOMPUTED):
            logits = ours.hidden(window)[:, -1] @ head
            if ours.head.bias is not None:
                logits += ours.head.bias
            uniform = torch.rand(1, 1, generator=rng)
            token = draw(next_token_probabilities(logits, Sampling()), uniform)
            window = torch.cat([window[:, 1:], token], dim=1)

    timed = [
        (seconds_per_token(2 * block_size, minigpt), seconds_per_token(RECOMPUTED, recomputed))
        for _ in range(1 + rounds)
    ]
    return timed[1:]


def table(stored: dict[str, Any]) -> str:
    lines = [["processor", "configuration", "sequences", "minigpt, ms a token",
              "transformers, ms a token", "**faster by**"], ["---"] * 6]  # fmt: skip
    for name, results in stored.items():
        for config, by_sequences in results["configs"].items():
            for sequences, rounds in by_sequences.items():
                lines.append([title(name, results), config, str(sequences), *cells(rounds)])
    return markdown_table(lines)


def past_context_table(stored: dict[str, Any]) -> str:
    lines = [["processor", "configuration", "minigpt, ms a token",
              "the whole window again, ms a token", "**faster by**"], ["---"] * 5]  # fmt: skip
    for name, results in stored.items():
        for config, rounds in results["past_context"].items():
            lines.append([title(name, results), config, *cells(rounds)])
    return markdown_table(lines)


def title(name: str, results: dict[str, Any]) -> str:
    return f"{name} ({', '.join(results['instructions'])})"


def cells(rounds: Rounds) -> list[str]:
    """Median milliseconds of both sides, and the ratio of a round."""
    ms = [f"{statistics.median(r[side] for r in rounds) * 1e3:.2f}" for side in (0, 1)]
    return [*ms, spread([theirs / ours for ours, theirs in rounds])]


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

## Past the context

One sequence whose context is full. minigpt begins a new window with the last half of the context
whenever it is full, twice in a context; the other side is a loop that reads the whole window again
for each token, with the same weights and the same sampling.

{past_context_table(stored)}
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
        results["configs"], results["past_context"] = {}, {}
        for name in args.configs:
            ours, theirs = networks(name, root)
            results["configs"][name] = measure(ours, theirs, args.rounds)
            results["past_context"][name] = measure_past_context(ours, args.rounds)
    if not args.stdout:
        store_kind("generate", kind(), results)
    stored = {kind(): results} if args.stdout else stored_kinds("generate")
    publish("generate", page(stored), args.stdout)


if __name__ == "__main__":
    main()
