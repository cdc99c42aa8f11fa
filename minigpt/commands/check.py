"""What a configuration would do, before it does it."""

import json
import math
import os
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from minigpt.batches.blocks import count_blocks
from minigpt.config import build
from minigpt.errors import UserError
from minigpt.model.gpt import GPTConfig, count_parameters
from minigpt.model.loss import CHUNK_ROWS
from minigpt.training.budget import BudgetConfig, apply_budget
from minigpt.training.optimizer import OptimizerConfig, SchedulerConfig


def plan(
    model: GPTConfig, n_tokens: int, stride: int, batch_size: int, max_epochs: int
) -> dict[str, Any]:
    """Counts that follow from a network's shape and a corpus's size alone."""
    parts = count_parameters(model)
    blocks = count_blocks(n_tokens, model.block_size, stride)
    batches = math.ceil(blocks / batch_size)
    return {
        "parameters": sum(parts.values()),
        "parameters_by_part": parts,
        "vocab_size": model.vocab_size,
        "tokens": n_tokens,
        "blocks": blocks,
        "batches_per_epoch": batches,
        "total_steps": batches * max_epochs,
        "memory_bytes": estimate_memory(model, batch_size),
    }


def estimate_memory(model: GPTConfig, batch_size: int) -> int:
    """Bytes that a float32 training step holds at its peak, the interpreter left out.

    Weights, gradients and AdamW's two moments; each block's saved activations (about 12 n_embd
    plus the attention weights a token); the head's gradient and one chunk of logits.
    """
    parameters = sum(count_parameters(model).values())
    tokens = batch_size * model.block_size
    per_block = (8 + 2 * model.mlp_ratio) * model.n_embd + 2 * model.n_head * model.block_size
    activations = tokens * (model.n_layer * per_block + 4 * model.n_embd)
    chunk = min(tokens, CHUNK_ROWS // 2) * model.vocab_size
    return 4 * (4 * parameters + activations + chunk + model.vocab_size * model.n_embd)


def check(cfg: DictConfig) -> dict[str, Any]:
    """Builds everything of a run but its weights: a mistake that would stop it stops here.

    Raises UserError as the run itself would.
    """
    from minigpt.training.build import build_data, build_trainer
    from minigpt.training.lit_gpt import check_loss

    cfg.run_dir = "outputs"  # where a run would write; nothing does
    build(OptimizerConfig, "optimizer", cfg.optimizer)
    build(SchedulerConfig, "scheduler", cfg.scheduler)
    check_loss(cfg.loss, cfg.label_smoothing)
    data, model = build_data(cfg)
    trainer, _ = build_trainer(cfg)
    apply_budget(trainer, build(BudgetConfig, "budget", cfg.budget), model, data)
    tokens = data.store.manifest.tokens
    found = plan(
        model,
        tokens["train"],
        data.config.stride,
        data.config.batch_size * trainer.world_size,
        max(0, trainer.max_epochs or 0),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if found["memory_bytes"] > memory and trainer.strategy.root_device.type == "cpu":
        raise UserError(
            f"a step needs about {found['memory_bytes'] / 2**30:.1f} GiB, this machine has "
            f"{memory / 2**30:.1f}; lower data.batch_size, model.n_embd or model.n_layer"
        )
    limit = trainer.limit_train_batches
    batches = found["batches_per_epoch"]
    batches = int(batches * limit) if isinstance(limit, float) else min(batches, limit)
    per_epoch = math.ceil(batches / trainer.accumulate_grad_batches)
    limits = [per_epoch * max(0, trainer.max_epochs or 0), trainer.max_steps]
    steps = min(limit for limit in limits if limit > 0)
    found["batches_per_epoch"], found["total_steps"] = batches, steps
    found["splits"] = tokens
    found["source"] = data.config.source
    found["tokenizer"] = data.store.manifest.tokenizer["name"]
    found["largest_id"] = data.store.manifest.largest_id
    return found


def print_plan(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(found, indent=2))
        return
    table = Table(show_header=False, box=None)
    table.add_column()
    table.add_column(justify="right")
    for name, count in found["parameters_by_part"].items():
        table.add_row(f"  {name}", f"{count:,}")
    table.add_row("parameters", f"{found['parameters']:,}", style="bold")
    table.add_row("vocabulary", f"{found['vocab_size']:,}")
    table.add_row("largest token id", f"{found['largest_id']:,}")
    for split, count in found["splits"].items():
        table.add_row(f"tokens, {split}", f"{count:,}")
    table.add_row("training blocks", f"{found['blocks']:,}")
    table.add_row("batches an epoch", f"{found['batches_per_epoch']:,}")
    table.add_row("steps in all", f"{found['total_steps']:,}")
    table.add_row("memory of a step, about", f"{found['memory_bytes'] / 2**20:,.0f} MiB")
    console = Console(highlight=False)
    console.print(f"source {found['source']}, tokenizer {found['tokenizer']}")
    console.print(table)
    console.print("data and model fit")
