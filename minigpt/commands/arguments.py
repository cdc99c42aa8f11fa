"""The arguments of each command, in a file that imports nothing: --help must not wait for torch."""

import argparse
from collections.abc import Callable
from pathlib import Path

Parser = argparse.ArgumentParser


def _overrides(parser: Parser, metavar: str = "key=value") -> None:
    parser.add_argument("overrides", nargs="*", metavar=metavar, help="as for train.py")


def _json(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print a JSON object")


def _prepare(parser: Parser) -> None:
    _overrides(parser, "data=...")


def _inspect(parser: Parser) -> None:
    parser.add_argument(
        "target", nargs="+", metavar="STORE or data=...", help="a store's folder, or overrides"
    )
    parser.add_argument("--verify", action="store_true", help="check every shard's sha256")
    _json(parser)


def _check(parser: Parser) -> None:
    _overrides(parser)
    _json(parser)


def _verify_resume(parser: Parser) -> None:
    _overrides(parser)
    parser.add_argument("--steps", type=int, default=24, help="optimizer steps of the trial run")


def _compare(parser: Parser) -> None:
    parser.add_argument("folders", nargs="+", type=Path, metavar="RUN or SWEEP")
    parser.add_argument(
        "--out", type=Path, help="the report's folder; the default is the first folder"
    )


def _explore(parser: Parser) -> None:
    parser.add_argument(
        "targets", nargs="+", metavar="RUN [RUN2] [data=...]",
        help="run folders or checkpoints; data=... names other text than their own",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, help="the page's file; the default is in RUN")
    parser.add_argument("--documents", type=int, default=1000, help="documents to show")
    parser.add_argument(
        "--split", choices=["val", "test", "train"], default="val", help="where they come from"
    )
    parser.add_argument(
        "--which", choices=["best", "last"], default="best", help="a run folder's checkpoint"
    )
    _json(parser)


def _generate(parser: Parser) -> None:
    parser.add_argument("checkpoint", type=Path, help="a .ckpt file or a run folder")
    start = parser.add_mutually_exclusive_group(required=True)
    start.add_argument("--prompt", help="the text to continue")
    start.add_argument(
        "--from-start", action="store_true", help="no prompt: begin a document of the model's own"
    )
    parser.add_argument("--max-new-tokens", type=int, default=100, help="tokens to write")
    parser.add_argument("--temperature", type=float, default=1.0, help="divides the logits")
    parser.add_argument("--top-k", type=int, help="sample from the k most likely tokens")
    parser.add_argument(
        "--top-p", type=float, help="sample from the most likely tokens that sum to probability p"
    )
    parser.add_argument("--greedy", action="store_true", help="always take the most likely token")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same text")
    parser.add_argument(
        "--which", choices=["best", "last"], default="best", help="a run folder's checkpoint"
    )


ARGUMENTS: dict[str, Callable[[Parser], None]] = {
    "prepare": _prepare,
    "inspect": _inspect,
    "check": _check,
    "verify-resume": _verify_resume,
    "compare": _compare,
    "explore": _explore,
    "generate": _generate,
}
