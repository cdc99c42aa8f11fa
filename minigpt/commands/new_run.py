"""A run in a folder where nothing has to be kept."""

import sys
from pathlib import Path

from omegaconf import DictConfig

from minigpt.command_lines import display_path, resume_command
from minigpt.commands.one_run import train
from minigpt.commands.requeue import is_complete, is_of_this_job, noted_job
from minigpt.commands.start import with_start
from minigpt.errors import UserError
from minigpt.runs.run_config import is_same, resumed_config
from minigpt.runs.run_folder import RunFolder


def train_new(config: DictConfig, run: RunFolder, overrides: list[str]) -> float | None:
    """Train in a folder that has no run yet, or whose run this SLURM job began.

    A run with this configuration that was stopped before its first checkpoint begins again, too.
    Raises UserError where the folder has another run.
    """
    try:
        with run.claim():
            if run.has_run and is_of_this_job(run):
                if is_complete(run):
                    print(f"{display_path(run.path)} is finished already", file=sys.stderr)
                    return None
                if run.has_checkpoint:
                    return train(resumed_config(run, []), run, overrides, resume=True)
                run.empty()  # the job was stopped before there was anything to keep
            elif run.has_run:
                _make_room(config, run, overrides)
            with noted_job(run):
                return train(with_start(config, overrides), run, overrides, resume=False)
    finally:
        run.remove_if_empty()
        if run.path.parent.parent == Path("outputs").resolve():
            RunFolder(run.path.parent).remove_if_empty()


def _make_room(config: DictConfig, run: RunFolder, overrides: list[str]) -> None:
    """Empty a folder whose run left nothing to keep; raises UserError for any other run."""
    if run.has_checkpoint:
        raise UserError(
            f"{display_path(run.path)} already holds a run; continue it with: "
            f"{resume_command(run.path)}"
        )
    is_begun = not is_complete(run) and is_same(with_start(config, overrides), run)
    if not is_begun or not run.is_only_run:
        raise UserError(
            f"{display_path(run.path)} already holds a run, without a checkpoint; choose another "
            "folder (hydra.run.dir=...), or delete it"
        )
    print(
        f"{display_path(run.path)} holds a run that was stopped before its first checkpoint; it "
        "begins again",
        file=sys.stderr,
    )
    run.empty()
