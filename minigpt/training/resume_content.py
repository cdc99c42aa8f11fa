"""Whether a checkpoint holds all that a run needs to go on, each part of the right form.

Its checksums say that it is as it was saved, not who saved it: a part that is missing or of another
form would otherwise be noticed in the middle of a step, or be taken for a fresh start.
"""

import math
from typing import Any

import lightning.pytorch as pl
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from minigpt.errors import UserError
from minigpt.runs.checkpoints import RAW_WEIGHTS, SHARDS
from minigpt.training.lightning_seams import fit_progress
from minigpt.training.lit_gpt import LitGPT
from minigpt.training.micro_batches import MICRO_BATCH
from minigpt.training.optimizer import make_optimizer
from minigpt.training.skipped_steps import SKIPPED_STEPS

CALLBACKS = ("Metrics", "RunSummary")  # of every run: their records go on, too
# What torch's optimizer keeps of each parameter.
MOMENTS = {"adamw": {"step", "exp_avg", "exp_avg_sq"}, "muon": {"momentum_buffer"}}
# What torch adds to a group; all other settings are replaced by this run's.
SWITCHES = {"amsgrad", "maximize", "foreach", "capturable", "differentiable",
            "decoupled_weight_decay"}  # fmt: skip
SCHEDULE = {"last_epoch": 0, "_step_count": 0, "base_lrs": [0.0], "lr_lambdas": [None]}


class _WrongFormError(ValueError):
    """Where a part is missing or of another form."""


def check_content(checkpoint: dict[str, Any], lit: LitGPT, trainer: pl.Trainer) -> None:
    """Raises UserError, naming the part, unless a run of these parts can go on from a checkpoint.

    Tensors in other files are left to those who read them.
    """
    try:
        check_like(checkpoint, {"epoch": 0, "global_step": 0, "pytorch-lightning_version": ""})
        check_like(checkpoint, {"loops": {"fit_loop": fit_progress(trainer)}, "callbacks": {}})
        check_like(checkpoint["callbacks"], {name: {} for name in CALLBACKS}, "callbacks")
        if SHARDS not in checkpoint:
            for key in {"state_dict", RAW_WEIGHTS} & checkpoint.keys():
                check_like(checkpoint[key], dict(lit.state_dict()), key)
        rows = checkpoint.get(MICRO_BATCH)
        _require(rows is None or (type(rows) is int and rows > 0), MICRO_BATCH)
        skipped = checkpoint.get(SKIPPED_STEPS, 0)
        _require(type(skipped) is int and skipped >= 0, SKIPPED_STEPS)
        optimizer = make_optimizer(lit.optimizer_config, lit.net, lit.net.config.scaling)
        _check_optimizer(checkpoint, optimizer)
        _check_schedule(checkpoint, len(optimizer.param_groups))
    except _WrongFormError as reason:
        raise UserError(
            f"resume: the checkpoint's {reason}, so the run cannot go on from it; it is damaged or "
            "of another version of minigpt"
        ) from None


def check_like(content: Any, sample: Any, place: str = "") -> None:
    """Raises _WrongFormError unless content has all that a sample has, of the same types.

    A sample's None stands for anything, and the first item of its lists for every item. Whole
    numbers are counts: none is below 0. Tensors have the sample's shape.
    """
    if isinstance(sample, dict):
        _require(isinstance(content, dict), place)
        for key, value in sample.items():
            inside = f"{place} {key}".strip()
            if key not in content:
                raise _WrongFormError(f"{inside} is missing")
            check_like(content[key], value, inside)
        if sample and all(isinstance(value, int) for value in sample.values()) and place:
            # Lightning makes attributes of these keys.
            _require(content.keys() == sample.keys(), place)
    elif isinstance(sample, list):
        _require(isinstance(content, list), place)
        for number, item in enumerate(content):
            check_like(item, sample[0], f"{place} {number}")
    elif isinstance(sample, Tensor):
        _require(isinstance(content, Tensor) and content.is_floating_point(), place)
        if content.shape != sample.shape:
            shapes = tuple(content.shape), tuple(sample.shape)
            raise _WrongFormError(f"{place} has the shape {shapes[0]} in place of {shapes[1]}")
    elif isinstance(sample, bool | str):
        _require(type(content) is type(sample), place)
    elif isinstance(sample, int):
        _require(type(content) is int and content >= 0, place)
    elif isinstance(sample, float):
        _require(type(content) in (int, float) and math.isfinite(content), place)


def _require(condition: bool, place: str) -> None:
    if not condition:
        raise _WrongFormError(f"{place} is not what a run saves there")


def _check_optimizer(checkpoint: dict[str, Any], fresh: Optimizer) -> None:
    check_like(checkpoint, {"optimizer_states": [{"state": {}, "param_groups": [{"params": [0]}]}]})
    place = "optimizer_states"
    _require(len(checkpoint[place]) == 1, place)
    state, groups = checkpoint[place][0]["state"], checkpoint[place][0]["param_groups"]
    _require(len(groups) == len(fresh.param_groups), f"{place} param_groups")
    moments: dict[int, dict[str, Tensor]] = {}
    for group, expected in zip(groups, fresh.param_groups, strict=True):
        numbers = range(len(moments), len(moments) + len(expected["params"]))
        _require(group["params"] == [*numbers], f"{place} params")
        for key in SWITCHES & expected.keys() & group.keys():
            _require(group[key] is expected[key], f"{place} {key}")
        names = MOMENTS[expected["algorithm"]]
        for number, parameter in zip(numbers, expected["params"], strict=True):
            single = {"step": parameter.new_zeros(())}
            moments[number] = {name: single.get(name, parameter) for name in names}
    if SHARDS not in checkpoint and (state or checkpoint["global_step"]):
        check_like(state, moments, f"{place} state")
        _require(state.keys() == moments.keys(), f"{place} state")


def _check_schedule(checkpoint: dict[str, Any], groups: int) -> None:
    place = "lr_schedulers"
    check_like(checkpoint, {place: [SCHEDULE]})
    _require(len(checkpoint[place]) == 1, place)
    schedule = checkpoint[place][0]
    _require(len(schedule["lr_lambdas"]) == len(schedule["base_lrs"]) == groups, place)
    _require(schedule["lr_lambdas"] == [None] * groups, f"{place} lr_lambdas")
    # torch makes attributes of these keys.
    methods = {name for name in dir(LambdaLR) if callable(getattr(LambdaLR, name))}
    _require(schedule.keys().isdisjoint(methods | {"optimizer"}), place)
