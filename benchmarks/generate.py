"""Times generation beside `transformers`' own `generate`, in one run.

    python benchmarks/generate.py               writes docs/results/generate.md
    python benchmarks/generate.py --rounds 1 --configs mini --stdout

Both sides hold the same weights and draw from the whole distribution at temperature 1, with a
key/value cache; they take turns in one process. Needs `transformers`.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

from machine import REPOSITORY, described

from minigpt.config import share_cores

CONFIGS = ("mini", "base", "wide")
SEQUENCES = (1, 32)


def networks(name: str, root: str) -> tuple[Any, Any]:
    """Ours with random weights, and a GPT-2 of transformers with the same ones."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    from minigpt.config import compose_config
    from minigpt.model.gpt import GPT
    from minigpt.training.build import build_data

    cfg = compose_config([f"model={name}", f"data.root={root}"])
    _, c = build_data(cfg)
    torch.manual_seed(1)
    ours = GPT(c).eval()
    theirs = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=c.vocab_size, n_positions=c.block_size, n_embd=c.n_embd, n_layer=c.n_layer,
            n_head=c.n_head, tie_word_embeddings=False, bos_token_id=None, eos_token_id=None,
        )
    ).eval()  # fmt: skip
    names = {"wte": "wte", "wpe": "wpe", "ln_f": "ln_f", "head": "lm_head"}
    weights = {}
    for key, value in ours.state_dict().items():
        first, _, rest = key.partition(".")
        if first == "blocks":
            i, _, rest = rest.partition(".")
            linear = ".attn." in f".{rest}" or ".mlp." in f".{rest}"
            rest = rest.replace("attn.qkv", "attn.c_attn").replace("mlp.fc", "mlp.c_fc")
            rest = rest.replace("proj", "c_proj")
            # Their linear layers are stored the other way round.
            weights[f"transformer.h.{i}.{rest}"] = value.T if linear and value.dim() == 2 else value
        elif first == "head":
            if rest == "weight":
                weights["lm_head.weight"] = value
        else:
            weights[f"transformer.{names[first]}.{rest}"] = value
    missing, unexpected = theirs.load_state_dict(weights, strict=False)
    assert not unexpected, unexpected
    assert all("attn.bias" in name for name in missing), missing  # their mask, if they keep one
    return ours, theirs


def measure(name: str, rounds: int, root: str) -> dict[int, list[tuple[float, float]]]:
    """Sequences -> (ours, theirs) seconds of each round."""
    import torch

    from minigpt.model.generate import Sampling, generate

    ours, theirs = networks(name, root)
    prompt_tokens = 8
    new = ours.config.block_size - prompt_tokens

    def seconds(write: Callable[[], Any]) -> float:
        start = time.perf_counter()
        write()
        return time.perf_counter() - start

    found: dict[int, list[tuple[float, float]]] = {}
    for sequences in SEQUENCES:
        prompt = torch.randint(1000, (sequences, prompt_tokens))
        mask = torch.ones_like(prompt)

        def here(prompt: Any = prompt, greedy: bool = False) -> Any:
            return generate(ours, prompt, new, Sampling(greedy=greedy), seed=1)

        def there(prompt: Any = prompt, mask: Any = mask, greedy: bool = False) -> Any:
            return theirs.generate(
                prompt, attention_mask=mask, max_new_tokens=new, min_new_tokens=new,
                do_sample=not greedy, top_k=0, pad_token_id=0,
            )  # fmt: skip

        if ours.head.bias is None or not ours.head.bias.any():
            assert torch.equal(here(greedy=True), there(greedy=True)), "not the same network"
        for _ in range(rounds + 1):  # the first warms up
            found.setdefault(sequences, []).append((seconds(here), seconds(there)))
        found[sequences] = [(a / new, b / new) for a, b in found[sequences][1:]]
    return found


def table(results: dict[str, dict[int, list[tuple[float, float]]]]) -> str:
    lines = ["| configuration | sequences | minigpt, ms a token | transformers, ms a token "
             "| faster by (median, least to most) |", "|---|---|---|---|---|"]  # fmt: skip
    for name, by_count in results.items():
        for sequences, rounds in by_count.items():
            ms = [statistics.median(r[i] for r in rounds) * 1e3 for i in (0, 1)]
            ratios = sorted(theirs / ours for ours, theirs in rounds)
            lines.append(
                f"| {name} | {sequences} | {ms[0]:.2f} | {ms[1]:.2f} | "
                f"{statistics.median(ratios):.2f}x ({ratios[0]:.2f} to {ratios[-1]:.2f}) |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--configs", nargs="+", choices=CONFIGS, default=list(CONFIGS))
    parser.add_argument("--stdout", action="store_true", help="print only, write no page")
    args = parser.parse_args()
    share_cores()  # before torch is imported
    with tempfile.TemporaryDirectory() as root:
        results = {name: measure(name, args.rounds, root) for name in args.configs}
    page = f"""# Speed of generation

`python benchmarks/generate.py` on {described()}. The same weights on both sides, float32, drawn
from the whole distribution from a prompt of 8 tokens to the end of the context, each with its
key/value cache, in turns in one process, {args.rounds} rounds. Greedily both write the same tokens,
which the script checks first.

{table(results)}
"""
    print(page)
    if not args.stdout:
        (REPOSITORY / "docs/results/generate.md").write_text(page, "utf-8")


if __name__ == "__main__":
    main()
