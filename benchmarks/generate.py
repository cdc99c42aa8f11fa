"""Time generation beside `transformers`' own `generate`, and past the context beside a plain loop.

    python benchmarks/generate.py               writes docs/results/generate.md
    python benchmarks/generate.py --avx2        the same processor without AVX-512, a section apart
    python benchmarks/generate.py --rounds 1 --configs mini base --stdout

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
LONG = "gpt2"  # timed past its context of 1,024 only, in a third of the rounds
ALL = (*CONFIGS, LONG)
SEQUENCES = (1, 32)  # generated at a time
PROMPT_TOKENS = 8

Rounds = list[tuple[float, float]]  # seconds per token of (minigpt, the other side), one per round


def network(name: str, root: str) -> Any:
    """Our network with random weights."""
    import torch

    from minigpt.config import compose_config
    from minigpt.model.gpt import GPT
    from minigpt.training.build import build_data

    _, config = build_data(compose_config([f"model={name}", f"data.root={root}"]))
    torch.manual_seed(1)
    return GPT(config).eval()


def same_in_transformers(ours: Any) -> Any:
    """A transformers GPT-2 with the same weights."""
    theirs = transformers_gpt2(ours.config).eval()
    weights = transformers_weights(ours.state_dict())
    missing, unexpected = theirs.load_state_dict(weights, strict=False)
    assert not unexpected, unexpected
    assert all("attn.bias" in key for key in missing), missing  # their causal mask, if stored
    return theirs


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

    Ours writes as many tokens a round as there are between two new windows.
    """
    import torch

    from minigpt.model.generate import Continuation
    from minigpt.model.sampling import Sampling, draw, next_token_probabilities

    block_size = ours.config.block_size
    new_tokens = block_size - block_size // 2 + 1
    recomputed_tokens = max(4, 4096 // block_size)
    prompt = torch.randint(1000, (block_size,))
    continuation = Continuation(ours, [prompt], Sampling(), [1])

    def minigpt() -> None:
        for _ in range(new_tokens):
            continuation.next_tokens()

    head, window = ours.head.weight.detach().T.contiguous(), prompt[None]

    @torch.inference_mode()
    def recomputed() -> None:
        nonlocal window
        for _ in range(recomputed_tokens):
            logits = ours.hidden(window)[:, -1] @ head
            if ours.head.bias is not None:
                logits += ours.head.bias
            token = draw(next_token_probabilities(logits, Sampling()), torch.rand(1, 1))
            window = torch.cat([window[:, 1:], token], dim=1)

    timed = [
        (
            seconds_per_token(new_tokens, minigpt),
            seconds_per_token(recomputed_tokens, recomputed),
        )
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
whenever it is full; the other side is a loop that reads the whole window again
for each token, with the same weights and the same sampling.

{past_context_table(stored)}
"""


def main() -> None:
    parser = argument_parser(__doc__, rounds=7)
    parser.add_argument("--configs", nargs="+", choices=ALL, default=list(ALL))
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
            ours = network(name, root)
            if name == LONG:
                rounds = max(1, args.rounds // 3)
            else:
                rounds = args.rounds
                theirs = same_in_transformers(ours)
                results["configs"][name] = measure(ours, theirs, rounds)
            results["past_context"][name] = measure_past_context(ours, rounds)
    if not args.stdout:
        store_kind("generate", kind(), results)
    stored = {kind(): results} if args.stdout else stored_kinds("generate")
    publish("generate", page(stored), args.stdout)


if __name__ == "__main__":
    main()
