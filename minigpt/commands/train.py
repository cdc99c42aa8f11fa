"""`python train.py` and `minigpt train`: one run, a resumed run, or a sweep of runs."""

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict

from minigpt.command_lines import (
    MINIGPT_TRAIN,
    RUN_FOLDER,
    hydra_value,
    train_program,
)
from minigpt.commands.limited_job import take_job_minutes
from minigpt.commands.new_run import train_new
from minigpt.commands.one_run import train
from minigpt.commands.other_process import run_by_launcher
from minigpt.commands.requeue import requeue_if_asked, words_of_this_job
from minigpt.commands.sweep import enter_sweep, release_sweep
from minigpt.commands.terminal import tolerant_output
from minigpt.commands.train_help import HELP, asks_for_help, help_text
from minigpt.config import CONF, build, compose_config, refuse_resume, share_cores
from minigpt.error_lines import one_line_errors
from minigpt.errors import UserError
from minigpt.lean_imports import without_collection
from minigpt.runs.run_config import parsed, resumed_config
from minigpt.runs.run_folder import RunFolder
from minigpt.signals import Interrupted, stop_signals
from minigpt.text.paths import is_url


@tolerant_output(is_log=True)
def main() -> None:
    """Train what the command line says; a resumed run takes its configuration from its folder."""
    share_cores()
    with one_line_errors(), stop_signals(), _say_if_stopped(), run_by_launcher():
        arguments = sys.argv[1:]
        if asks_for_help(arguments):
            print(help_text([word for word in arguments if word not in HELP]))
            return
        run, overrides = _split_resume(arguments)
        if run is not None:
            _resume(run, overrides)
        else:
            _check_options(arguments)
            sys.argv[1:] = words_of_this_job(arguments)
            try:
                _start()
            finally:
                release_sweep()


def _split_resume(arguments: list[str]) -> tuple[RunFolder | None, list[str]]:
    """The run that the last `resume=` names, and the arguments without `resume=`.

    The value is taken as it is: a path may hold what Hydra's grammar does not allow. None for
    `resume=null`. A run that comes from a URL keeps its copy there. Raises UserError for `resume=`
    alone.
    """
    values = [w.partition("=")[2] for w in arguments if w.lstrip("+").startswith("resume=")]
    if not values or values[-1] == "null":
        return None, arguments
    if not values[-1]:
        raise UserError("resume= is empty; name a run folder: resume=outputs/NAME/RUN")
    overrides = [word for word in arguments if not word.lstrip("+").startswith("resume=")]
    if is_url(values[-1]):
        # Imported only now, since few runs have a copy.
        from minigpt.runs.mirror import base_of, fetch_run

        run = fetch_run(values[-1], Path("outputs"))
        if not any(word.startswith("mirror=") for word in overrides):
            overrides.append(f"mirror={hydra_value(base_of(values[-1]))}")
        return run, overrides
    return RunFolder(Path(values[-1]).resolve()), overrides


def _check_options(arguments: list[str]) -> None:
    """Raise UserError for an option that Hydra does not have; its own parser prints 20 lines."""
    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        raise UserError(f"{message}; {shlex.join(train_program())} --hydra-help lists the options")

    parser.error = refuse  # type: ignore[method-assign]
    parser.parse_args(arguments)


@contextmanager
def _say_if_stopped() -> Iterator[None]:
    try:
        with requeue_if_asked():
            yield
    except Interrupted as stop:
        print(f"stopped{stop.hint}", file=sys.stderr)
        raise


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
def _start(config: DictConfig) -> float | None:
    """A new run, or one job of a sweep; returns what a sweeper minimises."""
    is_job = HydraConfig.get().mode == RunMode.MULTIRUN
    overrides = list(HydraConfig.get().overrides.task)
    # In here too, since Hydra adds lines of its own to an error that passes through it.
    with one_line_errors():
        run = RunFolder(enter_sweep() if is_job else HydraConfig.get().runtime.output_dir)
        config.run_dir = str(run.path)
        refuse_resume(config, "resume= is read from the command line only")
        minutes = take_job_minutes(config)
        if is_job:
            from minigpt.commands.sweep_job import run_job

            return run_job(config, run, overrides, minutes)
        if minutes is not None:
            raise UserError("sweep.job_minutes limits the jobs of a sweep (-m); leave it out")
        return train_new(config, run, overrides)


def _resume(run: RunFolder, overrides: list[str]) -> None:
    if options := [word for word in overrides if word.startswith("-")]:
        raise UserError(
            f"resume continues one run and takes key=value only; leave out {options[0]}"
        )
    config = resumed_config(run, overrides)
    with without_collection():
        from minigpt.batches.config import DataConfig
        from minigpt.tokens.places import refuse_foreign_places
        from minigpt.training.known_parts import refuse_unknown_parts

    typed = [override.key_or_group for override in parsed(overrides)]
    refuse_unknown_parts(config, typed, run.config)
    refuse_foreign_places(build(DataConfig, "data", config.data), typed, run.config)
    with run.claim():
        train(config, run, overrides, resume=True)


def train_run(overrides: Sequence[str] = (), folder: Path | str | None = None) -> RunFolder:
    """Train one run as `minigpt train <overrides>` does; returns its folder.

    folder: of a new run; by default one below outputs/ that does not exist yet. With
    resume=FOLDER among the overrides that run goes on. Raises UserError for what the user can
    mend, Interrupted after a signal that was acted on.
    """
    resumed, rest = _split_resume([*overrides])
    if resumed is not None and folder is not None:
        raise UserError(f"resume={resumed.path}: a resumed run keeps its folder; leave out folder")
    if resumed is not None:
        with _as_command(overrides), stop_signals():
            _resume(resumed, rest)
        return resumed
    words = rest if folder is None else [*rest, f"{RUN_FOLDER}={hydra_value(str(folder))}"]
    config = compose_config(words, hydra_too=True)
    run = RunFolder(Path(config.hydra.run.dir).resolve())
    take_job_minutes(config)
    with open_dict(config):
        del config.hydra
    config.run_dir = str(run.path)
    with _as_command(words), stop_signals():
        train_new(config, run, [word for word in rest if not word.startswith("hydra.")])
    return run


@contextmanager
def _as_command(words: Sequence[str]) -> Iterator[None]:
    """Within the block, the commands that are printed and recorded are those of these words."""
    arguments = sys.argv
    sys.argv = [MINIGPT_TRAIN, *words]
    try:
        yield
    finally:
        sys.argv = arguments


if __name__ == "__main__":
    main()
