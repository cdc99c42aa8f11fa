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


def _export(parser: Parser) -> None:
    parser.add_argument("checkpoint", type=Path, help="a .ckpt file or a run folder")
    parser.add_argument("folder", type=Path, help="the new folder")
    parser.add_argument(
        "--which", choices=["best", "last"], default="best", help="a run folder's checkpoint"
    )
    parser.add_argument(
        "--format",
        choices=["hf", "onnx", "gguf"],
        default="hf",
        help="hf: what transformers loads (default); gguf: for llama.cpp",
    )
    parser.add_argument("--force", action="store_true", help="replace an older export")
    _json(parser)


def _import(parser: Parser) -> None:
    parser.add_argument("folder", type=Path, help="a GPT-2 with config.json and safetensors")
    parser.add_argument(
        "out", nargs="?", type=Path, help="the new folder; the default is below outputs/imported/"
    )
    _json(parser)


ARGUMENTS: dict[str, Callable[[Parser], None]] = {
    "prepare": _prepare,
    "inspect": _inspect,
    "check": _check,
    "verify-resume": _verify_resume,
    "compare": _compare,
    "generate": _generate,
    "export": _export,
    "import": _import,
}
