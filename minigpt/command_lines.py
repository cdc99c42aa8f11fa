"""Commands that we print: each one runs as it stands when it is pasted into a shell."""

import re
import shlex
import sys
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

MINIGPT_TRAIN = "minigpt train"  # sys.argv[0] while that command runs
RUN_FOLDER, SWEEP_FOLDER = "hydra.run.dir", "hydra.sweep.dir"
# Keys that do not go with trainer=quick: they set the length of a run, count batches or epochs that
# a shorter run may not have, or name its folder.
NOT_QUICK = {"trainer", "trainer.max_epochs", "trainer.max_steps", "trainer.limit_train_batches",
             "trainer.val_check_interval", "trainer.check_val_every_n_epoch",
             "budget.tokens", "budget.flops", RUN_FOLDER, SWEEP_FOLDER}  # fmt: skip


def display_path(path: Path) -> Path:
    """A path as one would type it in the current folder."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def train_program() -> list[str]:
    """The words that start training, as the user typed them."""
    program = sys.argv[0]
    if program == MINIGPT_TRAIN:
        return program.split()
    return ["python", program if Path(program).name == "train.py" else "train.py"]


def train_command() -> str:
    """The command that this process runs."""
    return shlex.join([*train_program(), *sys.argv[1:]])


def resume_command(folder: Path) -> str:
    """The command that continues a run; what follows `resume=` is taken as it is."""
    return shlex.join([*train_program(), f"resume={display_path(folder)}"])


def sweep_command(folder: str) -> str:
    """The command that continues this process's sweep in its folder."""
    words = [word for word in sys.argv[1:] if not word.startswith(f"{SWEEP_FOLDER}=")]
    return shlex.join([*train_program(), *words, f"{SWEEP_FOLDER}={hydra_value(folder)}"])


def quick_command(*more: str) -> str | None:
    """The command that this process runs with `trainer=quick`, and more overrides.

    None where it is quick already or continues a run, whose length was chosen before.
    """
    words = sys.argv[1:]
    keys = [word.lstrip("+").partition("=")[0] for word in words]
    if "trainer=quick" in words or "resume" in keys:
        return None
    kept = [word for key, word in zip(keys, words, strict=True) if key not in NOT_QUICK]
    return shlex.join([*train_program(), *kept, "trainer=quick", *more])


def tensorboard_command(folder: Path) -> str:
    return shlex.join(["tensorboard", "--logdir", str(display_path(folder))])


def generate_command(run: Path, prompt: str) -> str:
    """The command that continues a prompt with a run's last weights."""
    words = ["minigpt", "generate", str(display_path(run)), "--which", "last", f"--prompt={prompt}"]
    return shlex.join(words)


def evaluate_command(run: Path) -> str:
    """The command that evaluates a run's best weights on its held-out text."""
    return shlex.join(["minigpt", "evaluate", str(display_path(run))])


def memorization_command(run: Path) -> str:
    """The command that says what a run memorised."""
    return shlex.join(["minigpt", "memorization", str(display_path(run))])


def hydra_value(text: str) -> str:
    """Text for Hydra's grammar, in quotes where commas, brackets or spaces need them.

    Inside the quotes a backslash escapes a quote; those in front of a quote are doubled.
    """
    if re.fullmatch(r"[\w./-]+", text, re.ASCII):
        return text
    body = text.replace("${", "\\${").rstrip("\\")
    slashes = "\\" * (2 * (len(text) - len(text.rstrip("\\"))))
    body = re.sub(r'(\\*)"', lambda match: 2 * match[1] + '\\"', body)
    return f'"{body}{slashes}"'


def unclosed_bracket(override: str) -> str | None:
    """The bracket that a `key=value` opens at its value's start and does not close, or None."""
    value = override.partition("=")[2]
    bracket = value[:1]
    closing = {"[": "]", "{": "}"}.get(bracket)
    return bracket if closing and value.count(closing) < value.count(bracket) else None


def quoted_override(override: str) -> str | None:
    """A `key=value` that Hydra cannot read, with its value quoted for Hydra and for the shell.

    A list is quoted item by item. None where quotes do not help.
    """
    key, equals, value = override.partition("=")
    if not equals:
        return None
    if value.startswith("[") and value.endswith("]"):
        items = [item.strip().strip("'\"") for item in value[1:-1].split(",")]
        value = "[" + ",".join(map(hydra_value, items)) + "]"
    else:
        value = hydra_value(value.strip("'\""))
    try:
        OverridesParser.create().parse_override(f"{key}={value}")
    except HydraException:
        return None
    return shlex.quote(f"{key}={value}")
