"""The `minigpt` command."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from minigpt.config import build, compose_config
from minigpt.error_lines import one_line_errors

if TYPE_CHECKING:
    from minigpt.tokens.prepare import Prepared


class _Parser(argparse.ArgumentParser):
    """One line for a wrong argument, as everywhere."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; {self.prog} --help lists what there is\n")


def main(arguments: list[str] | None = None) -> None:
    parser = _Parser(prog="minigpt", description="Train with `python train.py`.")
    commands = parser.add_subparsers(dest="command", required=True)

    prepare = commands.add_parser("prepare", help="text -> token store, ahead of training")
    prepare.add_argument("overrides", nargs="*", metavar="data=...", help="as for train.py")

    inspect = commands.add_parser("inspect", help="what a token store holds")
    inspect.add_argument("target", nargs="+", metavar="STORE or data=...")
    inspect.add_argument("--verify", action="store_true", help="hash every shard again")
    inspect.add_argument("--json", action="store_true", help="print an object")

    resume = commands.add_parser(
        "verify-resume", help="prove that a configuration resumes bit for bit on this machine"
    )
    resume.add_argument("overrides", nargs="*", metavar="key=value", help="as for train.py")
    resume.add_argument("--steps", type=int, default=24, help="optimizer steps of the run tried")

    check = commands.add_parser("check", help="what a configuration would do, before it does it")
    check.add_argument("overrides", nargs="*", metavar="key=value", help="as for train.py")
    check.add_argument("--json", action="store_true", help="print an object")

    compare = commands.add_parser("compare", help="runs or sweeps -> which is better, and why")
    compare.add_argument("folders", nargs="+", type=Path, metavar="RUN or SWEEP")
    compare.add_argument(
        "--out", type=Path, help="where the report goes; default: the first folder"
    )

    generate = commands.add_parser("generate", help="a checkpoint and a prompt -> text")
    generate.add_argument("checkpoint", type=Path, help="a .ckpt file or a run folder")
    generate.add_argument("--prompt", required=True)
    generate.add_argument("--max-new-tokens", type=int, default=100)
    generate.add_argument("--temperature", type=float, default=1.0)
    generate.add_argument("--top-k", type=int, help="draw from the k likeliest tokens")
    generate.add_argument("--top-p", type=float, help="draw from the likeliest that make up p")
    generate.add_argument("--greedy", action="store_true", help="always the likeliest token")
    generate.add_argument("--seed", type=int, default=0)
    generate.add_argument(
        "--which", choices=["best", "last"], default="best", help="of a run folder's checkpoints"
    )

    args = parser.parse_args(arguments)
    with one_line_errors():
        command: Callable[[argparse.Namespace], None] = {
            "prepare": _prepare,
            "inspect": _inspect,
            "verify-resume": _verify_resume,
            "check": _check,
            "compare": _compare,
            "generate": _generate,
        }[args.command]
        command(args)


def _prepare(args: argparse.Namespace) -> None:
    from minigpt.commands.inspect import print_prepared

    print_prepared(_prepared(args.overrides))


def _inspect(args: argparse.Namespace) -> None:
    from minigpt.commands.inspect import inspect, open_store, print_inspection

    if any("=" in word for word in args.target):
        store = _prepared(args.target).store
    else:
        store = open_store(" ".join(args.target))
    print_inspection(inspect(store, args.verify), args.json)


def _prepared(overrides: list[str]) -> "Prepared":
    from minigpt.batches.config import DataConfig
    from minigpt.tokens.prepare import prepare

    return prepare(build(DataConfig, "data", compose_config(overrides).data))


def _verify_resume(args: argparse.Namespace) -> None:
    from minigpt.commands.verify_resume import verify_resume

    verify_resume(args.overrides, args.steps)


def _check(args: argparse.Namespace) -> None:
    from minigpt.commands.check import check, print_plan

    print_plan(check(compose_config(args.overrides)), args.json)


def _compare(args: argparse.Namespace) -> None:
    from minigpt.reports.comparison import compare, print_comparison

    out = args.out or args.folders[0]
    print_comparison(compare(args.folders, out), out)


def _generate(args: argparse.Namespace) -> None:
    from minigpt.evaluation.generation import generate_text, load
    from minigpt.model.generate import Sampling

    sampling = Sampling(args.temperature, args.top_k, args.top_p, args.greedy)
    net, tokenizer = load(args.checkpoint, args.which)
    text = generate_text(net, tokenizer, args.prompt, args.max_new_tokens, sampling, args.seed)
    sys.stdout.write(args.prompt + text + "\n")


if __name__ == "__main__":
    main()
