"""Time generation beside `transformers`' own `generate`.

    python benchmarks/generate.py               writes docs/results/generate.md
    python benchmarks/generate.py --rounds 1 --configs mini --stdout

Both sides have the same weights and a key/value cache and sample at temperature 1 without top-k or
top-p. They take turns in one process. Needs `transformers`.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

from machine import machine_description
from models import transformers_gpt2, transformers_weights
from results import argument_parser, publish

from minigpt.config import share_cores

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


def table(results: dict[str, dict[int, Rounds]]) -> str:
    lines = ["| configuration | sequences | minigpt, ms a token | transformers, ms a token "
             "| faster by (median, least to most) |", "|---|---|---|---|---|"]  # fmt: skip
    for name, by_sequences in results.items():
        for sequences, rounds in by_sequences.items():
            ms = [statistics.median(r[side] for r in rounds) * 1e3 for side in (0, 1)]
            ratios = sorted(theirs / ours for ours, theirs in rounds)
            lines.append(
                f"| {name} | {sequences} | {ms[0]:.2f} | {ms[1]:.2f} | "
                f"{statistics.median(ratios):.2f}x ({ratios[0]:.2f} to {ratios[-1]:.2f}) |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argument_parser(__doc__, rounds=7)
    parser.add_argument("--configs", nargs="+", choices=CONFIGS, default=list(CONFIGS))
    args = parser.parse_args()
    share_cores()  # before torch is imported
    with tempfile.TemporaryDirectory() as root:
        results = {name: measure(name, args.rounds, root) for name in args.configs}
    page = f"""# Speed of generation

`python benchmarks/generate.py` on {machine_description()}. Both sides have the same float32
weights and a key/value cache, and continue a prompt of {PROMPT_TOKENS} tokens to the end of the
context, sampling from the whole distribution. They take turns in one process, {args.rounds} rounds.
The script first checks that both produce the same tokens under greedy decoding.

{table(results)}
"""
    publish("generate", page, args.stdout)


if __name__ == "__main__":
    main()
