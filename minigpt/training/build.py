"""Configuration -> the three objects of a run: data, module, trainer."""

import logging
import math
import shutil
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Checkpoint, ProgressBar
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig

from minigpt.batches.config import DataConfig
from minigpt.config import build, plain
from minigpt.errors import UserError, check_choice
from minigpt.model.gpt import GPTConfig, count_parameters
from minigpt.model.loss import check_method, check_smoothing, has_bfloat16_instructions
from minigpt.runs.mirror import RunMirror
from minigpt.runs.run_folder import RunFolder
from minigpt.text.paths import is_url
from minigpt.tokens.tokenizer import Tokenizer
from minigpt.training.budget import BudgetConfig, apply_budget
from minigpt.training.callbacks.finite_watch import FiniteWatch
from minigpt.training.callbacks.metrics import Metrics
from minigpt.training.checkpoint_io import DurableCheckpointIO
from minigpt.training.data_module import TokenDataModule
from minigpt.training.finite import ON_NAN
from minigpt.training.known_parts import make_parts
from minigpt.training.lightning_seams import NoProfiler, leave_signals_alone
from minigpt.training.limits import check_limits
from minigpt.training.lit_gpt import LitGPT, check_loss
from minigpt.training.memory import check_weights_fit, keep_freed_memory
from minigpt.training.micro_batches import MicroBatches
from minigpt.training.optimizer import OptimizerConfig, check_covers
from minigpt.training.processes import find_environment, is_first
from minigpt.training.schedule import SchedulerConfig
from minigpt.training.sharding import ShardedStrategy
from minigpt.training.skipped_steps import SkippedSteps
from minigpt.training.trainer_keys import OWN_KEYS, check_trainer_keys


@dataclass
class Run:
    """What `trainer.fit(lit, data)` needs."""

    data: TokenDataModule
    lit: LitGPT
    trainer: pl.Trainer


@dataclass
class Parts:
    """A run's checked configuration, its data and its trainer; the weights are not made yet."""

    data: TokenDataModule
    model: GPTConfig
    optimizer: OptimizerConfig
    scheduler: SchedulerConfig
    trainer: pl.Trainer
    compile_blocks: bool | str
    start: str | None  # the folder whose weights the network starts with


def build_run(
    cfg: DictConfig,
    recorders: Sequence[pl.Callback] = (),
    *,
    resumed: bool = False,
    tokenizer: Tokenizer | None = None,
    halvings: int = 0,
) -> Run:
    """Data, module and trainer of a configuration; the same seed gives the same weights.

    recorders: callbacks that come before the configuration's, so that what these save is recorded.
    resumed: the weights come from a checkpoint later, so those of model.from are not read.
    tokenizer: makes the ids in place of the one that data.tokenizer names.
    halvings: of the learning rate, one for each rewind.
    Raises UserError for anything in the configuration that cannot be run, before it is run.
    """
    callbacks = [*recorders, *make_parts("callbacks", cfg.callbacks)]
    loggers = make_parts("logger", cfg.logger)
    parts = build_parts(cfg, callbacks, loggers, resumed=resumed, tokenizer=tokenizer)
    data, trainer = parts.data, parts.trainer
    order = {**data.order(), "end_of_text": data.config.end_of_text}
    torch.manual_seed(cfg.seed)
    optimizer = replace(parts.optimizer, lr=math.ldexp(parts.optimizer.lr, -halvings))
    lit = LitGPT(parts.model, optimizer, parts.scheduler, data.store.manifest.tokenizer,
                 order, cfg.loss, cfg.label_smoothing, cfg.seed)  # fmt: skip
    if cfg.trainer.get("auto_accumulate", False):
        lit.micro_batches = MicroBatches()
    if cfg.get("on_nan") == "skip":
        lit.skipped = SkippedSteps()
    if parts.start is not None:
        from minigpt.interop.start import load_start

        load_start(lit.net, parts.start)
        lit.is_pretrained = True
    if parts.compile_blocks:
        if is_first(trainer):
            print("compiling the blocks: the first step takes longer", file=sys.stderr)
        for block in lit.net.blocks:
            # In place: the parameters keep their names.
            block.compile(mode=None if parts.compile_blocks is True else parts.compile_blocks)
    return Run(data, lit, trainer)


def build_parts(
    cfg: DictConfig,
    callbacks: list[pl.Callback],
    loggers: list[Any],
    *,
    resumed: bool = False,
    tokenizer: Tokenizer | None = None,
) -> Parts:
    """Everything of a run but its weights; `minigpt check` needs no more.

    Raises UserError for anything in the configuration that cannot be run.
    """
    optimizer = build(OptimizerConfig, "optimizer", cfg.optimizer)
    scheduler = build(SchedulerConfig, "scheduler", cfg.scheduler)
    budget = build(BudgetConfig, "budget", cfg.budget)
    check_loss(cfg.loss, cfg.label_smoothing)
    # The trainer before the data: a large corpus takes minutes to prepare.
    trainer, compile_blocks = make_trainer(cfg, callbacks, loggers)
    _check_on_nan(cfg, trainer)
    if compile_blocks:
        _check_compiler(trainer)
    has_softcap = cfg.model.get("logit_softcap") is not None
    device = trainer.strategy.root_device
    check_method(cfg.loss, device, bool(cfg.model.head_bias), has_softcap)
    check_smoothing(cfg.label_smoothing, has_softcap)
    # What a run was trained on lay at the URL then; a run folder may be another's.
    data, model = build_data(cfg, tokenizer, uploads=not resumed)
    check_weights_fit(sum(count_parameters(model).values()))
    check_covers(optimizer, model)
    start = None if resumed else cfg.model.get("from")
    if start is not None:
        # Imported only now: a run without the key must not wait for it.
        from minigpt.interop.start import check_start_tokenizer

        check_start_tokenizer(start, data.store.manifest.tokenizer, model.vocab_size)
    apply_budget(trainer, budget, model, data)
    check_limits(trainer, data)
    return Parts(data, model, optimizer, scheduler, trainer, compile_blocks, start)


def build_data(
    cfg: DictConfig, tokenizer: Tokenizer | None = None, *, uploads: bool = True
) -> tuple[TokenDataModule, GPTConfig]:
    """The data and the network's shape, checked to fit each other."""
    if not isinstance(cfg.seed, int) or isinstance(cfg.seed, bool) or not 0 <= cfg.seed < 2**63:
        raise UserError(f"seed must be a whole number from 0 to 2^63 - 1, got {cfg.seed!r}")
    data_config = build(DataConfig, "data", cfg.data)
    shape = plain(cfg.model)
    # The shape is checked before the corpus is read, its vocabulary (which may be the corpus's
    # own) after.
    vocab_size = shape.pop("vocab_size", None)
    build(GPTConfig, "model", shape, vocab_size=1 if vocab_size is None else vocab_size)
    data = TokenDataModule(data_config, shape["block_size"], cfg.seed, tokenizer, uploads=uploads)
    # Before the trainer does: the network needs the vocabulary's size.
    data.prepare_data()
    data.setup()
    model = build(GPTConfig, "model", shape, vocab_size=vocab_size or data.vocab_size)
    data.check_vocabulary(model.vocab_size)
    return data, model


def make_trainer(
    cfg: DictConfig, callbacks: list[pl.Callback], loggers: list[Any]
) -> tuple[pl.Trainer, bool | str]:
    """The trainer, and trainer.compile; it also sets up this process's memory and precision."""
    arguments = plain(cfg.trainer)
    check_trainer_keys(arguments)
    # build_run reads the last of them.
    compile_blocks, keep_freed, tf32, _ = (arguments.pop(key, False) for key in OWN_KEYS)
    keep_freed_memory(keep_freed)
    if arguments["precision"] == "auto":
        fast = _multiplies_bfloat16(arguments["accelerator"])
        arguments["precision"] = "bf16-mixed" if fast else "32-true"
    if torch.cuda.is_available():
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
    callbacks = [Metrics(), FiniteWatch(cfg.run_dir), *callbacks]
    quieten_lightning()
    environment, mirror = find_environment(), run_mirror(cfg)
    if arguments.get("strategy") == "fsdp2":
        arguments["strategy"] = ShardedStrategy()
    try:
        trainer = pl.Trainer(
            **{"profiler": NoProfiler(), **arguments},
            callbacks=callbacks,
            logger=loggers,
            enable_checkpointing=any(isinstance(c, Checkpoint) for c in callbacks),
            enable_progress_bar=any(isinstance(c, ProgressBar) for c in callbacks),
            plugins=[DurableCheckpointIO(mirror), environment],
            default_root_dir=cfg.run_dir,
        )
    except (ValueError, TypeError, RuntimeError, MisconfigurationException) as error:
        line = str(error).splitlines()[0]
        # Lightning names its argument, or the class made from it: CUDAAccelerator.
        found = {line.lower().find(key): key for key in arguments if key in line.lower()}
        key = found[min(found)] if found else "accelerator"  # "No supported gpu backend found!"
        raise UserError(f"trainer.{key}={arguments[key]}: {line}") from None
    leave_signals_alone(trainer)
    return trainer, compile_blocks


def _check_on_nan(cfg: DictConfig, trainer: pl.Trainer) -> None:
    on_nan, most = cfg.get("on_nan", "stop"), cfg.get("max_rewinds", 1)
    check_choice("on_nan", on_nan, ON_NAN)
    if not isinstance(most, int) or isinstance(most, bool) or most < 1:
        raise UserError(f"max_rewinds must be a whole number of at least 1, got {most!r}")
    if on_nan == "rewind" and trainer.world_size > 1:
        raise UserError(
            f"on_nan=rewind goes back in a run of one process only, and this one has "
            f"{trainer.world_size}; use on_nan=skip or stop"
        )


def run_mirror(cfg: DictConfig) -> RunMirror | None:
    """What keeps a copy of the run's folder, if the configuration asks for one."""
    base = cfg.get("mirror")
    if base is None:
        return None
    if not isinstance(base, str) or not is_url(base):
        raise UserError(f"mirror={base} is not a URL; name one such as s3://bucket/runs")
    return RunMirror(RunFolder(cfg.run_dir), base)


def _multiplies_bfloat16(accelerator: str) -> bool:
    if accelerator in ("auto", "cuda", "gpu") and torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return accelerator in ("auto", "cpu") and has_bfloat16_instructions()


def _check_compiler(trainer: pl.Trainer) -> None:
    on_cpu = trainer.strategy.root_device.type == "cpu"
    if on_cpu and not any(map(shutil.which, ("g++", "clang++", "c++"))):
        raise UserError("trainer.compile=true needs a C++ compiler (g++ or clang++); none is found")


def quieten_lightning() -> None:
    """Leaves Lightning's errors and real warnings; drops its tips, greetings and inner matters."""
    # torch deprecates what Lightning still calls.
    warnings.filterwarnings("ignore", message=".*treespec, LeafSpec", category=FutureWarning)
    for message in (
        "Checkpoint directory .* is not empty",  # a resumed run writes where it wrote before
        "The number of training batches .* is smaller than the logging interval",
        "You're resuming from a checkpoint that ended before",  # the loader knows its place
    ):
        warnings.filterwarnings("ignore", message=message)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
