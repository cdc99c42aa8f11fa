"""The keys of the `trainer` config group, checked before Lightning sees them."""

import inspect
from typing import Any

import lightning.pytorch as pl

from minigpt.errors import UserError, check_choice, check_finite_number, nearest

OWN_KEYS = ("compile", "keep_freed_memory", "tf32", "auto_accumulate")  # not Lightning's
# What trainer.auto_accumulate=true cannot go together with, and why.
NOT_IN_PARTS = {
    ("strategy", "fsdp2"): "a process out of memory would leave the others waiting in a block",
    ("compile", "reduce-overhead"): "CUDA graphs keep the memory of the batch that did not fit",
    **dict.fromkeys(
        (("precision", name) for name in (16, "16", "16-mixed")),
        "float16 needs its loss scaled before the gradients are computed",
    ),
}
COMPILE = (False, True, "reduce-overhead")
STRATEGIES = ("auto", "ddp", "fsdp2")
REFUSED_STRATEGIES = {
    **dict.fromkeys(("spawn", "fork", "notebook"), "copies a process that has begun a run"),
    "fsdp": "is the older way to divide the weights, and cannot clip gradients by norm",
}
# Runs from before trainer.auto_accumulate go on without it.
NEEDED = (*OWN_KEYS[:3], "accelerator", "precision", "max_epochs", "max_steps", "gradient_clip_val",
          "accumulate_grad_batches", "log_every_n_steps", "limit_train_batches",
          "val_check_interval")  # fmt: skip


def check_trainer_keys(arguments: dict[str, Any]) -> None:
    """Raises UserError for what Lightning would accept and fail on later, or never."""
    known = [*inspect.signature(pl.Trainer).parameters, *OWN_KEYS]
    for key in arguments:
        if key not in known:
            names = [f"trainer.{name}" for name in known]
            raise UserError(f"unknown key trainer.{key}{nearest(f'trainer.{key}', names)}")
    for key in NEEDED:
        if key not in arguments:
            raise UserError(f"trainer.{key} is missing; leave it in")
    for key, value in arguments.items():
        check_finite_number(f"trainer.{key}", value)
    check_choice("trainer.compile", arguments["compile"], COMPILE)
    for key in ("keep_freed_memory", "tf32", "auto_accumulate"):
        check_choice(f"trainer.{key}", arguments.get(key, False), (True, False))
    strategy = str(arguments.get("strategy", "auto"))
    if strategy not in STRATEGIES:
        why = next(
            (reason for word, reason in REFUSED_STRATEGIES.items() if word in strategy),
            "is not one that minigpt can promise its losses and its resume with",
        )
        raise UserError(f"trainer.strategy={strategy} {why}; use {' or '.join(STRATEGIES)}")
    for (key, value), why in NOT_IN_PARTS.items():
        if arguments.get("auto_accumulate", False) and arguments.get(key) == value:
            raise UserError(
                f"trainer.auto_accumulate=true does not go with trainer.{key}={value}: {why}; "
                "leave one of them out"
            )
    unlimited = -1
    # Whole numbers of at least 1, and what else each may be.
    whole: dict[str, tuple[int | None, ...]] = {
        "max_epochs": (unlimited,),
        "max_steps": (unlimited,),
        "accumulate_grad_batches": (),
        "log_every_n_steps": (),
        "check_val_every_n_epoch": (None,),
        "num_sanity_val_steps": (None, 0, unlimited),
    }
    for key, others in whole.items():
        value = arguments.get(key)
        if not isinstance(value, bool) and value in others:
            continue
        if not isinstance(value, int) or isinstance(value, bool):
            raise UserError(f"trainer.{key} must be a whole number, got {value!r}")
        if value < 1:
            raise UserError(f"trainer.{key} must be at least 1, got {value}")
    if arguments["max_epochs"] == arguments["max_steps"] == unlimited:
        raise UserError("the run would never end: set trainer.max_epochs or trainer.max_steps")
    for key in ("limit_train_batches", "val_check_interval"):
        value = arguments[key]
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise UserError(f"trainer.{key} must be a count or a share above 0, got {value!r}")
    for key in ("limit_val_batches", "limit_test_batches"):
        value = arguments.get(key, 1.0)
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise UserError(f"trainer.{key} must be a count or a share, 0 for none, got {value!r}")
    clip = arguments["gradient_clip_val"]
    if clip is not None and not (isinstance(clip, int | float) and clip > 0):
        raise UserError(f"trainer.gradient_clip_val must be above 0 or null, got {clip!r}")
