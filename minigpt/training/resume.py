"""Where a resumed run goes on, and what is refused before any file of the run changes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from minigpt.config import build
from minigpt.errors import UserError
from minigpt.runs.checkpoints import check_resumable, checkpoint_to_resume, read_content
from minigpt.runs.run_folder import RunFolder
from minigpt.tokens.tokenizer import Tokenizer, from_spec
from minigpt.tokens.tokenizer_name import names_a_file
from minigpt.training.data_module import TokenDataModule
from minigpt.training.lightning_seams import (
    batches_done_in,
    epochs_completed,
    explain_restoring,
)
from minigpt.training.limits import training_batches
from minigpt.training.lit_gpt import LitGPT
from minigpt.training.optimizer import GROUP_KEYS, OptimizerConfig
from minigpt.training.resume_content import check_content

LONGEST_REASON = 200  # characters


@dataclass(frozen=True)
class ResumePoint:
    """The checkpoint that a resumed run continues."""

    path: Path
    checkpoint: dict[str, Any]
    tokenizer: Tokenizer | None  # where it makes the ids, in place of the one that is configured
    damage: str  # of a newer checkpoint; empty if this is the last


def read_resume_point(run: RunFolder, tokenizer: str | None) -> ResumePoint:
    """The newest whole checkpoint of a run; tokenizer: data.tokenizer of this start.

    Raises UserError where there is none.
    """
    path, damage = checkpoint_to_resume(run)
    checkpoint = read_content(path)
    before = run.read_config()["data"].get("tokenizer")
    return ResumePoint(path, checkpoint, resumed_tokenizer(checkpoint, before, tokenizer), damage)


def check_resume(
    point: ResumePoint, lit: LitGPT, data: TokenDataModule, trainer: pl.Trainer, changed: bool
) -> None:
    """Raises UserError unless these parts continue a checkpoint exactly, and go on from it.

    changed: True if the configuration is another than at the earlier start.
    """
    check_resumable(point.checkpoint, dict(lit.hparams))
    check_same_groups(point.checkpoint, lit.optimizer_config)
    check_content(point.checkpoint, lit, trainer)
    check_can_go_on(point.checkpoint, trainer, data, changed)
    explain_restoring(trainer, lambda error: _explained(error, point.path))


def _explained(error: Exception, path: Path) -> Exception:
    """What restoring a checkpoint raised, in one line."""
    if isinstance(error, UserError):
        return error
    reason = " ".join(str(error).split())[:LONGEST_REASON]
    return UserError(
        f"resume: the checkpoint {path} cannot be restored ({type(error).__name__}: {reason}); it "
        "is damaged or of another version of minigpt"
    )


def check_same_groups(checkpoint: dict[str, Any], config: OptimizerConfig) -> None:
    """Raises UserError unless the optimizer's groups are those of a checkpoint."""
    # What an older checkpoint does not name, it trained as the default says.
    saved = build(OptimizerConfig, "optimizer", checkpoint["hyper_parameters"].get("optimizer"))
    for key in GROUP_KEYS:
        before, now = getattr(saved, key), getattr(config, key)
        if before != now:
            raise UserError(
                f"resume: the checkpoint has optimizer.{key}={before}, this run asks for {now}; "
                "a resumed run keeps which parameters are trained alike (all other keys of the "
                "optimizer may change)"
            )


def resumed_tokenizer(
    checkpoint: dict[str, Any], before: str | None, now: str | None
) -> Tokenizer | None:
    """The checkpoint's tokenizer where data.tokenizer names a file, which may be gone by now.

    before, now: data.tokenizer at the first start and at this one. None where they differ or name
    no file: then the configuration and the text decide, as at the first start.
    """
    if before != now or not names_a_file(now or ""):
        return None
    return from_spec(checkpoint["hyper_parameters"]["tokenizer"])


def check_can_go_on(
    checkpoint: dict[str, Any], trainer: pl.Trainer, data: TokenDataModule, changed: bool
) -> None:
    """Raises UserError if a trainer would end before the place that a checkpoint has reached.

    A run that is complete may be resumed as it was, and then tests again; with a changed
    configuration it may not, since the change would have no effect.
    """
    epochs, max_epochs = epochs_completed(checkpoint), trainer.max_epochs
    if max_epochs is not None and 0 <= max_epochs < epochs:
        raise UserError(
            f"trainer.max_epochs={max_epochs}: the run to resume has {epochs} epochs behind it; "
            "ask for more"
        )
    steps = checkpoint["global_step"]
    if 0 <= trainer.max_steps < steps:
        raise UserError(
            f"the run to resume has {steps} steps behind it, and its length is now "
            f"{trainer.max_steps}; raise trainer.max_steps, or the budget that sets it"
        )
    done = batches_done_in(checkpoint)
    batches = training_batches(trainer, data)
    if done >= batches:
        raise UserError(
            f"trainer.limit_train_batches leaves {batches} batches an epoch: the run to resume "
            f"stands behind batch {done} of one; give it more, or leave the key out"
        )
    if changed and (epochs == max_epochs or steps == trainer.max_steps):
        raise UserError(
            "the run to resume is complete, so a changed key would change nothing; raise "
            "trainer.max_epochs or trainer.max_steps as well to train on"
        )
