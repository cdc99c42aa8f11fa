"""Train what a user would otherwise pick on so many tokens, and score the same text.

    python benchmarks/recipe_rivals.py NAME TOKENS SEED CORPUS ROOT

Prints the figures as JSON; benchmarks/recipe.py runs it in a process of its own. Both rivals have
the shape of report B's baseline, GPT-2's tokenizer and tied weights, and get our batches, bfloat16
where the machine has it, and torch.compile, whose time does not count.
"""

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import print_result
from models import transformers_gpt2
from train_sides import training_batches

from minigpt.config import share_cores


@dataclass(frozen=True)
class Settings:
    """A rival's training settings."""

    library: str
    lr: float
    schedule: Callable[[float, int], float]  # (share of the run, step) -> share of lr
    betas: tuple[float, float]
    weight_decay: float  # of matrices and tables
    batch_size: int


def warmup_cosine(share: float, step: int) -> float:
    """nanoGPT's: linear over 100 steps, then half a cosine to a tenth at the end."""
    return min(1.0, (step + 1) / 100) * (0.1 + 0.9 * (1 + math.cos(math.pi * share)) / 2)


def linear(share: float, step: int) -> float:
    """Trainer's: no warm-up, to zero."""
    return 1 - share


RIVALS = {
    # Those that nanoGPT names for a small network on a CPU, without dropout.
    "nanoGPT's settings": Settings("plain", 1e-3, warmup_cosine, (0.9, 0.99), 0.1, 32),
    # TrainingArguments() as they are.
    "transformers' Trainer defaults": Settings("transformers", 5e-5, linear, (0.9, 0.999), 0.0, 8),
    # The same with a rate that suits so small a network.
    "transformers, learning rate 1e-3": Settings(
        "transformers", 1e-3, linear, (0.9, 0.999), 0.0, 32
    ),
}


def train(name: str, tokens: float, seed: int, corpus: str, root: str) -> dict[str, Any]:
    """The figures of a rival after so many tokens, with the seconds of its training steps."""
    import torch
    import torch.nn.functional as F

    from minigpt.config import build, compose_config
    from minigpt.model.gpt import GPT, GPTConfig, count_parameters
    from minigpt.model.loss import has_bfloat16_instructions

    settings, device = RIVALS[name], "cuda" if torch.cuda.is_available() else "cpu"
    cfg = compose_config(
        ["experiment=baseline", "model.tie_weights=true", "model.bias=false", "model.dropout=0",
         f"data.batch_size={settings.batch_size}", "data=files", f"data.files=['{corpus}']",
         f"data.root='{root}'", f"seed={seed}"],
    )  # fmt: skip
    if settings.library == "transformers":  # whose network has biases, and dropout by default
        cfg.model.update(bias=True, dropout=0.1)
    config = build(GPTConfig, "model", cfg.model)
    torch.manual_seed(seed)
    is_library = settings.library == "transformers"
    net = transformers_gpt2(config, use_cache=False) if is_library else GPT(config)
    net.train().to(device)

    def loss_of(inputs: Any, targets: Any) -> Any:
        logits = net(inputs).logits if is_library else net(inputs)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)

    compute = torch.compile(loss_of)
    optimizer = make_optimizer(settings, net)
    seconds, trained, timed = 0.0, 0, 0
    autocast = device == "cuda" or has_bfloat16_instructions()
    for step, (inputs, targets) in enumerate(training_batches(cfg)):
        if trained >= tokens:
            break
        started = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = settings.lr * settings.schedule(trained / tokens, step)
        with torch.autocast(device, torch.bfloat16, enabled=autocast):
            loss = compute(inputs.to(device), targets.to(device))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        loss.item()
        trained += inputs.numel()
        if step:  # the first step compiles
            seconds += time.perf_counter() - started
            timed += inputs.numel()
    figures = score(net, config, cfg, settings.library)
    parameters = sum(count_parameters(config).values())
    seconds *= trained / timed
    return {"parameters": parameters, "tokens": trained, "seconds": seconds, **figures}


def make_optimizer(settings: Settings, net: Any) -> Any:
    """AdamW, with weight decay of matrices and tables alone."""
    import torch

    decayed = [p for p in net.parameters() if p.dim() >= 2]
    others = [p for p in net.parameters() if p.dim() < 2]
    return torch.optim.AdamW(
        [{"params": decayed, "weight_decay": settings.weight_decay},
         {"params": others, "weight_decay": 0.0}],
        lr=settings.lr, betas=settings.betas, fused=True,
    )  # fmt: skip


def score(net: Any, config: Any, cfg: Any, library: str) -> dict[str, float]:
    """The held-out figures, by the same evaluation as ours."""
    from minigpt.batches.config import DataConfig
    from minigpt.config import build
    from minigpt.evaluation.evaluate import evaluate
    from minigpt.evaluation.trained_model import TrainedModel
    from minigpt.interop.gpt2_weights import from_gpt2_weights
    from minigpt.model.gpt import GPT
    from minigpt.tokens.prepare import prepare
    from minigpt.tokens.tokenizer import from_spec

    if library == "transformers":
        weights = from_gpt2_weights(config, dict(net.state_dict()), "rival")
        net = GPT(config)
        net.load_state_dict(weights)
    store = prepare(build(DataConfig, "data", cfg.data)).store
    tokenizer = from_spec(store.manifest.tokenizer)
    model = TrainedModel(net.eval(), tokenizer, tokenizer.end_of_text, Path(), "")
    total = evaluate(model, store, ["val"]).splits["val"].total
    return {"loss": total.loss, "bits_per_byte": total.bits_per_byte}


if __name__ == "__main__":
    share_cores()  # before torch is imported
    rival, tokens, seed, corpus, root = sys.argv[1:]
    print_result(train(rival, float(tokens), int(seed), corpus, root))
