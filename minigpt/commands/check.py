"""`minigpt check`: what a configuration would do, without running it."""

import argparse
import json
import math
from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig
from rich.table import Table

from minigpt.commands.plan import plan
from minigpt.commands.start import with_start
from minigpt.config import compose_config, refuse_resume
from minigpt.errors import UserError
from minigpt.model.loss import resolve_method
from minigpt.reports.terminal_table import Console
from minigpt.training.build import Parts, build_parts
from minigpt.training.callbacks.weight_average import WeightAverage
from minigpt.training.known_parts import make_known_parts
from minigpt.training.limits import training_batches
from minigpt.training.memory import physical_memory
from minigpt.training.sharding import ShardedStrategy
from minigpt.training.step_memory import StepSettings


def run(args: argparse.Namespace) -> None:
    print_plan(check(args.overrides), args.json)


def check(overrides: Sequence[str]) -> dict[str, Any]:
    """The sizes of the run that these overrides describe; raises UserError as the run would."""
    config = with_start(compose_config([*overrides]), overrides)
    refuse_resume(config, "check looks at a new run")
    return check_config(config)


def check_config(cfg: DictConfig) -> dict[str, Any]:
    """Builds all of a run but its weights, and runs no code that the configuration names.

    Raises UserError as the run itself would.
    """
    cfg.run_dir = "outputs"  # a placeholder: nothing is written there
    callbacks, unknown_callbacks = make_known_parts("callbacks", cfg.callbacks)
    loggers, unknown_loggers = make_known_parts("logger", cfg.logger)
    parts = build_parts(cfg, callbacks, loggers)
    data, trainer = parts.data, parts.trainer
    manifest = data.store.manifest
    counts = plan(
        parts.model,
        manifest.tokens["train"],
        data.config.stride,
        step_settings(cfg, parts),
    )
    needed = counts["memory_bytes"] * (trainer.world_size // trainer.num_nodes)
    if needed > physical_memory() and trainer.strategy.root_device.type == "cpu":
        raise UserError(
            f"a step needs about {needed / 2**30:.1f} GiB, this machine has "
            f"{physical_memory() / 2**30:.1f}; lower data.batch_size, model.n_embd or model.n_layer"
        )
    batches = training_batches(trainer, data)
    per_epoch = math.ceil(batches / trainer.accumulate_grad_batches)
    limits = [per_epoch * max(0, trainer.max_epochs or 0), trainer.max_steps]
    return {
        **counts,
        "batches_per_epoch": batches,
        "total_steps": min(limit for limit in limits if limit > 0),
        "splits": manifest.tokens,
        "source": data.config.source,
        "tokenizer": manifest.tokenizer["name"],
        "largest_id": manifest.largest_id,
        "not_checked": unknown_callbacks + unknown_loggers,
    }


def step_settings(cfg: DictConfig, parts: Parts) -> StepSettings:
    """What the memory of a step depends on, of a configuration and the trainer made from it."""
    trainer = parts.trainer
    device = trainer.strategy.root_device
    return StepSettings(
        batch_size=parts.data.config.batch_size // trainer.world_size,
        loss=resolve_method(cfg.loss, device),
        bfloat16=trainer.precision == "bf16-mixed",
        on_cpu=device.type == "cpu",
        muon=cfg.optimizer.name == "muon",
        averaged=any(isinstance(callback, WeightAverage) for callback in trainer.callbacks),
        processes=trainer.world_size,
        sharded=isinstance(trainer.strategy, ShardedStrategy),
    )


def print_plan(counts: dict[str, Any], as_json: bool) -> None:
    """Print what `check` returned, as a table or as a JSON object."""
    if as_json:
        print(json.dumps(counts, indent=2))
        return
    table = Table(show_header=False, box=None)
    table.add_column()
    table.add_column(justify="right")
    for name, count in counts["parameters_by_part"].items():
        table.add_row(f"  {name}", f"{count:,}")
    table.add_row("parameters", f"{counts['parameters']:,}", style="bold")
    table.add_row("vocabulary", f"{counts['vocab_size']:,}")
    table.add_row("largest token id", f"{counts['largest_id']:,}")
    for split, count in counts["splits"].items():
        table.add_row(f"tokens, {split}", f"{count:,}")
    table.add_row("training blocks", f"{counts['blocks']:,}")
    table.add_row("batches an epoch", f"{counts['batches_per_epoch']:,}")
    table.add_row("steps in all", f"{counts['total_steps']:,}")
    table.add_row("memory of a step, about", f"{counts['memory_bytes'] / 2**20:,.0f} MiB")
    console = Console()
    console.print(f"source {counts['source']}, tokenizer {counts['tokenizer']}")
    console.print(table)
    if counts["not_checked"]:
        names = ", ".join(counts["not_checked"])
        console.print(f"not checked, since it would run other code: {names}", soft_wrap=True)
    console.print("data and model fit")
