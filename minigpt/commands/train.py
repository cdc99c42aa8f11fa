"""`python train.py` and `minigpt train`: one run, a resumed run, or a sweep of runs."""

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from minigpt.command_lines import (
    MINIGPT_TRAIN,
    RUN_FOLDER,
    display_path,
    evaluate_command,
    hydra_value,
    memorization_command,
    resume_command,
    train_command,
    train_program,
)
from minigpt.commands.limited_job import take_job_minutes
from minigpt.commands.other_process import COMMAND, run_by_launcher
from minigpt.commands.requeue import (
    is_complete,
    is_of_this_job,
    noted_job,
    requeue_if_asked,
    words_of_this_job,
)
from minigpt.commands.start import with_start
from minigpt.commands.sweep import release_sweep
from minigpt.commands.terminal import tolerant_output
from minigpt.commands.train_help import HELP, asks_for_help, help_text
from minigpt.config import CONF, compose_config, plain, refuse_resume, share_cores
from minigpt.error_lines import explain, one_line_errors
from minigpt.errors import UserError
from minigpt.lean_imports import without_collection
from minigpt.runs.run_config import parsed, resolved, resumed_config
from minigpt.runs.run_folder import RunFolder
from minigpt.signals import Interrupted, stop_signals

if TYPE_CHECKING:
    from minigpt.training.build import Run


@tolerant_output()
def main() -> None:
    """Train what the command line says; a resumed run takes its configuration from its folder."""
    share_cores()
    with one_line_errors(), stop_signals(), _say_if_stopped(), run_by_launcher():
        arguments = sys.argv[1:]
        if asks_for_help(arguments):
            print(help_text([word for word in arguments if word not in HELP]))
            return
        folder, overrides = _split_resume(arguments)
        if folder is not None:
            _resume(RunFolder(folder.resolve()), overrides)
        else:
            _check_options(arguments)
            sys.argv[1:] = words_of_this_job(arguments)
            try:
                _start()
            finally:
                release_sweep()


def _split_resume(arguments: list[str]) -> tuple[Path | None, list[str]]:
    """The folder that the last `resume=` names, and the arguments without `resume=`.

    The value is taken as it is: a path may hold what Hydra's grammar does not allow. None for
    `resume=null`. Raises UserError for `resume=` alone.
    """
    values = [w.partition("=")[2] for w in arguments if w.lstrip("+").startswith("resume=")]
    if not values or values[-1] == "null":
        return None, arguments
    if not values[-1]:
        raise UserError("resume= is empty; name a run folder: resume=outputs/NAME/RUN")
    overrides = [word for word in arguments if not word.lstrip("+").startswith("resume=")]
    return Path(values[-1]), overrides


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
    run = RunFolder(HydraConfig.get().runtime.output_dir)
    overrides = list(HydraConfig.get().overrides.task)
    config.run_dir = str(run.path)
    # In here too, since Hydra adds lines of its own to an error that passes through it.
    with one_line_errors():
        refuse_resume(config, "resume= is read from the command line only")
        minutes = take_job_minutes(config)
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            from minigpt.commands.sweep_job import run_job

            return run_job(config, run, overrides, minutes)
        if minutes is not None:
            raise UserError("sweep.job_minutes limits the jobs of a sweep (-m); leave it out")
        return _train_new(config, run, overrides)


def _train_new(config: DictConfig, run: RunFolder, overrides: list[str]) -> float | None:
    """Train in a folder that has no run yet, or whose run this SLURM job began.

    Raises UserError where it has another.
    """
    try:
        with run.claim():
            if run.has_run and is_of_this_job(run):
                if is_complete(run):
                    print(f"{display_path(run.path)} is finished already", file=sys.stderr)
                    return None
                if run.last.exists():
                    return train(resumed_config(run, []), run, overrides, resume=True)
                run.empty()  # the job was stopped before there was anything to keep
            if run.has_run:
                raise UserError(
                    f"{display_path(run.path)} already holds a run; continue it with: "
                    f"{resume_command(run.path)}"
                )
            with noted_job(run):
                return train(with_start(config, overrides), run, overrides, resume=False)
    finally:
        run.remove_if_empty()
        if run.path.parent.parent == Path("outputs").resolve():
            RunFolder(run.path.parent).remove_if_empty()


def _resume(run: RunFolder, overrides: list[str]) -> None:
    if options := [word for word in overrides if word.startswith("-")]:
        raise UserError(
            f"resume continues one run and takes key=value only; leave out {options[0]}"
        )
    config = resumed_config(run, overrides)
    with without_collection():
        from minigpt.training.known_parts import refuse_unknown_parts

    typed = [override.key_or_group for override in parsed(overrides)]
    refuse_unknown_parts(config, typed, run.config)
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
        raise UserError(f"resume={resumed}: a resumed run keeps its folder; leave out folder")
    if resumed is not None:
        run = RunFolder(resumed.resolve())
        with _as_command(overrides), stop_signals():
            _resume(run, rest)
        return run
    words = rest if folder is None else [*rest, f"{RUN_FOLDER}={hydra_value(str(folder))}"]
    config = compose_config(words, hydra_too=True)
    run = RunFolder(Path(config.hydra.run.dir).resolve())
    take_job_minutes(config)
    with open_dict(config):
        del config.hydra
    config.run_dir = str(run.path)
    with _as_command(words), stop_signals():
        _train_new(config, run, [word for word in rest if not word.startswith("hydra.")])
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


def train(
    config: DictConfig, run: RunFolder, overrides: list[str], *, resume: bool
) -> float | None:
    """Train one run in its folder; returns its lowest held-out bits per byte.

    They are what a sweep minimises, since nats a token depend on the tokenizer.
    Raises UserError for what the user can mend, Interrupted after a signal.
    """
    # Imported only now: --help and a mistyped key must not wait for torch.
    with without_collection():
        from minigpt.reports.run_report import print_report
        from minigpt.reproductions.all_reports import REPRODUCTIONS
        from minigpt.runs.checkpoints import check_resumable, checkpoint_to_resume, read_checkpoint
        from minigpt.runs.summary import Status
        from minigpt.training.build import build_run
        from minigpt.training.callbacks.hparams import TensorBoardHparams
        from minigpt.training.callbacks.metrics import Metrics
        from minigpt.training.callbacks.run_summary import RunSummary
        from minigpt.training.launcher import OtherProcessFailedError, join_processes
        from minigpt.training.meeting import Job
        from minigpt.training.memory import reset_peak_memory
        from minigpt.training.processes import find_environment, is_first, use_launched_processes
        from minigpt.training.resume import check_can_go_on, check_same_groups, resumed_tokenizer
        from minigpt.version import code_commit

    commit = code_commit()  # now: the tree may change while the run trains
    resume_from, damage = checkpoint_to_resume(run) if resume else (None, "")
    tokenizer = None
    if resume_from:
        checkpoint = read_checkpoint(resume_from)
        before = run.read_config()["data"].get("tokenizer")
        tokenizer = resumed_tokenizer(checkpoint, before, config.data.tokenizer)
    is_asked = not resume or any("trainer.devices" in word for word in overrides)
    use_launched_processes(config, find_environment(), is_asked=is_asked)
    summary = RunSummary(run, train_command(), overrides, commit)
    recorders = [summary, TensorBoardHparams(plain(config))]
    parts = build_run(config, recorders, resumed=resume, tokenizer=tokenizer)
    trainer = parts.trainer
    if resume_from:
        check_resumable(checkpoint, dict(parts.lit.hparams))
        check_same_groups(checkpoint, parts.lit.optimizer_config)
        changed = {**resolved(config), "run_dir": ""} != {**run.read_config(), "run_dir": ""}
        check_can_go_on(checkpoint, trainer, parts.data, changed)
    if is_first(trainer):
        if damage:
            print(damage, file=sys.stderr)
        run.write_config(resolved(config))
    reset_peak_memory()
    job = Job(OmegaConf.to_yaml(config, resolve=True), str(run.path), overrides, resume)
    try:
        with join_processes(trainer, parts.data, job, COMMAND):
            trainer.fit(parts.lit, parts.data, ckpt_path=resume_from, weights_only=True)
            if run.best.exists():  # there is none where a run ended before its first validation
                # trainer.test(ckpt_path=...) would set the callbacks back to that epoch as well.
                parts.lit.load_state_dict(read_checkpoint(run.best)["state_dict"])
            if len(parts.data.blocks["test"]):
                trainer.test(parts.lit, parts.data, verbose=False)
            summary.write(trainer, Status.FINISHED)
        if is_first(trainer):
            _study(run, parts)
    except Interrupted as stop:
        if run.last.exists():
            stop.hint = f"; continue with: {resume_command(run.path)}"
        raise
    except OtherProcessFailedError as error:
        # Until now all that this process knew was that it lost the connection.
        summary.on_exception(trainer, parts.lit, error)
        raise
    if is_first(trainer):
        print_report(run, REPRODUCTIONS)
    best = Metrics.of(trainer).best
    return best.val_bits_per_byte if best else None


def _study(run: RunFolder, parts: "Run") -> None:
    """Add to a finished run what its network knows; a failure is said, the run stays finished."""
    from minigpt.evaluation.end_of_run import evaluate_run, look_for_memory

    studies = (
        ("its evaluation", evaluate_run, evaluate_command),
        ("the look at what it memorised", look_for_memory, memorization_command),
    )
    for what, study, command in studies:
        try:
            study(run, parts)
        except Exception as error:
            print(
                f"the run is finished, but {what} failed: {explain(error)}; try again with: "
                f"{command(run.path)}",
                file=sys.stderr,
            )


if __name__ == "__main__":
    main()
