"""The `minigpt` command: hands its arguments to the file of the command that was typed."""

import argparse
import importlib
import sys
from typing import NoReturn

from minigpt.commands.arguments import ARGUMENTS
from minigpt.commands.terminal import tolerant_output
from minigpt.lean_imports import without_collection

COMMANDS = {
    "train": "train a model, resume a run or run a sweep, as `python train.py` does",
    "prepare": "turn text into a token store ahead of training",
    "inspect": "show what a token store holds",
    "tokenizer": "train a tokenizer on the training text of a corpus",
    "check": "show what a configuration would do, without running it",
    "verify-resume": "prove that a configuration resumes bit for bit on this machine",
    "evaluate": "measure how well a trained model predicts a text, in bits per byte",
    "memorization": "say whether a run learned or memorised, and write a page",
    "explore": "write a page that shows a run's loss token by token",
    "generate": "continue a prompt with a trained model",
    "compare": "compare runs or sweeps and write a report",
    "coordinates": "check that a training step changes networks of all widths alike",
    "scaling": "fit a scaling law to runs and advise the size and tokens for a budget",
    "counterfactual": "list the documents that a sweep's models know only when trained on them",
    "export": "write a trained model as transformers, ONNX or llama.cpp read it",
    "import": "make a checkpoint of a GPT-2 that transformers saved",
}
FILES = {"import": "import_model"}  # Python's own word cannot name a file


class _Parser(argparse.ArgumentParser):
    """Reports a wrong argument in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; {self.prog} --help lists the arguments\n")


@tolerant_output()
def main(arguments: list[str] | None = None) -> None:
    """Run `minigpt <command> ...`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["train"]:
        from minigpt.command_lines import MINIGPT_TRAIN
        from minigpt.commands import train

        sys.argv = [MINIGPT_TRAIN, *arguments[1:]]  # Hydra reads it, and so do printed commands
        train.main()
        return
    parser = _Parser(prog="minigpt", description="Train and study small GPTs.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, description in COMMANDS.items():
        command = commands.add_parser(name, help=description, description=description)
        if name in ARGUMENTS:
            ARGUMENTS[name](command)
    args = parser.parse_args(arguments)
    # Only now, and only the file of the command that was typed: --help waits for nothing.
    from minigpt.config import share_cores
    from minigpt.error_lines import one_line_errors

    share_cores()
    with one_line_errors():
        with without_collection():
            file = FILES.get(args.command, args.command.replace("-", "_"))
            module = importlib.import_module(f"minigpt.commands.{file}")
        module.run(args)


if __name__ == "__main__":
    main()
