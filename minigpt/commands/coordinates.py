"""`minigpt coordinates`: whether a training step changes networks of all widths alike."""

import argparse
import json
from collections.abc import Sequence
from itertools import islice

from minigpt.atomic_file import write_file
from minigpt.config import build, compose_config, refuse_resume
from minigpt.errors import UserError
from minigpt.evaluation.coordinates import Setting, coordinates
from minigpt.reports.coordinates_page import (
    coordinate_figures,
    coordinates_html,
    print_coordinates,
)
from minigpt.training.build import build_data
from minigpt.training.optimizer import OptimizerConfig
from minigpt.training.schedule import SchedulerConfig

PROBED = 4  # held-out blocks whose activations are measured


def run(args: argparse.Namespace) -> None:
    widths = _widths(args.widths)
    if args.steps < 1:
        raise UserError(f"--steps must be at least 1, got {args.steps}")
    if args.out.is_dir():
        raise UserError(f"--out {args.out} is a folder; name a file in it")
    setting = setting_of(args.overrides, args.steps)
    checks = coordinates(setting, widths)
    model = setting.model
    subtitle = (
        f"{model.n_layer} blocks of {model.n_head} heads, base width {model.base_width}, after "
        f"{args.steps} steps at a learning rate of {setting.optimizer.lr:g}"
    )
    write_file(args.out, coordinates_html(checks, subtitle))
    if args.json:
        print(json.dumps({**coordinate_figures(checks), "page": str(args.out)}, indent=2))
    else:
        print_coordinates(checks, args.out)


def _widths(text: str) -> list[int]:
    """64,128,256 -> whole numbers. Raises UserError unless there are two different ones."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise UserError(f"--widths must be whole numbers between commas, got {text!r}")
    widths = sorted({int(word) for word in words})
    if len(widths) < 2:
        raise UserError(f"--widths={text}: a check compares two widths or more")
    return widths


def setting_of(overrides: Sequence[str], steps: int) -> Setting:
    """The networks, text and optimizer that these overrides describe, with a batch for each step.

    Raises UserError as a run with them would, and where the text has too few batches.
    """
    config = compose_config([*overrides])
    refuse_resume(config, "coordinates looks at new networks")
    if (start := config.model.get("from")) is not None:
        raise UserError(f"model.from={start}: coordinates looks at new networks; leave it out")
    optimizer = build(OptimizerConfig, "optimizer", config.optimizer)
    scheduler = build(SchedulerConfig, "scheduler", config.scheduler)
    data, model = build_data(config)
    batches = [*islice(data.train_dataloader(), steps)]
    if len(batches) < steps:
        raise UserError(
            f"--steps {steps}: an epoch of this text has {len(batches)} batches; lower --steps or "
            "data.batch_size, or give more text"
        )
    inputs, _ = next(iter(data.val_dataloader()))
    return Setting(model, optimizer, scheduler, config.loss, config.seed, batches, inputs[:PROBED])
